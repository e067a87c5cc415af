#pragma once
class ConnectionManager;
struct [[nodiscard]] ParseHelper {};
// class CommentManager {};
class Manage {};
