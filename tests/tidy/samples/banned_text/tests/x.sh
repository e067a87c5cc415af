#!/bin/sh
cd /home/me
