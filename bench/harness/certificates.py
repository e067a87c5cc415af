"""A root and two leaves for the opponents: ECDSA P-256, a DNS and a SPIFFE name each."""

from topology import BenchError, run

EXTENSIONS = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:{name}.bench,URI:spiffe://cluster.local/ns/bench/sa/{name}
"""


def make_certificates(folder):
    folder.mkdir(parents=True, exist_ok=True)
    new_key = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes"]
    run(*new_key, "-x509", "-days", "7", "-subj", "/O=cluster.local/CN=root", "-keyout",
        folder / "ca.key", "-out", folder / "ca.crt")
    for name in ("client", "server"):
        request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
        extensions.write_text(EXTENSIONS.format(name=name))
        run(*new_key, "-subj", f"/CN={name}.bench", "-keyout", folder / f"{name}.key", "-out",
            request)
        run("openssl", "x509", "-req", "-days", "7", "-in", request, "-CA", folder / "ca.crt",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", extensions, "-out",
            folder / f"{name}.crt")
        pem = (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.pem").write_text(pem)
    if not (folder / "server.pem").is_file():
        raise BenchError("openssl made no certificate; check openssl version")
    return folder
