// Node's own HTTP/2, as an application and as a client.
//
// http2_peer.mjs serve PORT
// http2_peer.mjs call URL BYTES    posts so many bytes and prints what came back: status, version of
//                                  the application's caller, whether the body is the same, trailers
import http2 from "node:http2";

function serve(port) {
  const server = http2.createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.respond(
      { ":status": 200, "x-served-by": "node", "x-method": headers[":method"] },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": "behind" }));
    if (headers[":method"] === "GET") {
      stream.end(`${headers[":path"]} over HTTP/2\n`);
    } else {
      stream.pipe(stream);
    }
  });
  server.listen(port, "::", () => console.log(`serving on ${port}`));
}

function call(url, bytes) {
  const session = http2.connect(url);
  const body = Buffer.alloc(bytes, "orlop");
  const stream = session.request({ ":method": "POST", ":path": "/node" });
  const got = [];
  stream.setTimeout(15000, () => stream.close(http2.constants.NGHTTP2_CANCEL));
  stream.on("response", (headers) => console.log("status", headers[":status"]));
  stream.on("trailers", (trailers) => console.log("trailer", trailers["x-trailer"]));
  stream.on("data", (piece) => got.push(piece));
  stream.on("error", (error) => console.log("error", error.message));
  stream.on("close", () => {
    const whole = Buffer.concat(got);
    console.log(whole.equals(body) ? "same" : `answer of ${whole.length} bytes`);
    session.close();
  });
  stream.end(body);
}

const [, , role, where, bytes] = process.argv;
if (role === "serve") {
  serve(Number(where));
} else {
  call(where, Number(bytes));
}
