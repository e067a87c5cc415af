// The quick reader of plain YAML against yaml-cpp: the same tree, line by line, or it gives up.
#include "daemon/control/plain_yaml.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace orlop::control {
namespace {

// All that a Node says, places included.
std::string shown(const Node& node) {
    std::ostringstream out;
    out << static_cast<int>(node.kind) << '/' << static_cast<int>(node.style) << '@' << node.line
        << ':' << node.column << '"' << node.text << '"';
    for (const Node& item : node.items) {
        out << "\n-" << shown(item);
    }
    for (const Field& field : node.fields) {
        out << "\n" << field.key << '@' << field.line << '=' << shown(field.value);
    }
    return out.str() + "\n.";
}

std::string shown(const std::vector<Node>& documents) {
    std::string out;
    for (const Node& document : documents) {
        out += shown(document) + "\n---\n";
    }
    return out;
}

std::string shown_in_full(std::string_view text) {
    auto documents = parse_all_yaml(text);
    return documents ? shown(*documents) : "error: " + documents.error().error.context;
}

TEST(PlainYaml, reads_what_objects_are_made_of_as_yaml_cpp_does) {
    for (std::string_view text : {
             "a: 1\n",
             "a: 1",
             "---\na: 1\nb: two words # and why\n---\n# another\nc: -1\n",
             "a:\n  b:\n    c: d\n  e: f\ng: h\n",
             "a:\n- 1\n- two\nb: 3\n",
             "a:\n  - 1\n  - two\nb: 3\n",
             "- a: 1\n  b: 2\n- c: 3\n",
             "- a:\n  - x\n  b: 2\n",
             "- - a\n",
             "a: {b: c, d: [1, -2, three and a half], e: {}, f: []}\n",
             "a: [ {b: 1}, [2], \"q\", 'r' ] # why\n",
             "metadata: {name: x, labels: {kubernetes.io/service-name: big-1}}\n",
             "- {addresses: [10.100.0.1], conditions: {ready: true}}\n",
             "a: \"b # no comment\"\nb: 'c: d'\n\"e f\": g\n",
             "a: null\nb: ~\nc: {d: null}\n",
             "a: http://x:80/y?z=1#no\nb: [10.0.0.1:80]\n",
             "a: x#y\nb: it's\n",
             "# only then\n\n  # indented\na: 1\n\n  \nb: 2\n",
             "a:   spaced   \nb:\t1\n",
             "a: 00:11:22\n",
         }) {
        std::string expected = shown_in_full(text);
        auto plain = parse_plain_yaml(text);
        EXPECT_EQ(plain ? shown(*plain) : expected, expected) << text;
    }
}

TEST(PlainYaml, is_what_the_objects_of_a_big_mesh_are_written_in) {
    for (std::string_view text : {
             "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\nspec:\n"
             "  clusterIP: 10.74.0.1\n  ports: [{name: http, port: 80, protocol: TCP}]\n",
             "spec:\n  hosts:\n  - server\n  http:\n  - route:\n    - destination:\n"
             "        host: server\n    timeout: 15s\n    retries:\n      attempts: 2\n"
             "      retryOn: connect-failure,refused-stream,503\n",
             "status:\n  conditions:\n  - type: Ready\n    status: \"True\"\n",
         }) {
        auto plain = parse_plain_yaml(text);
        ASSERT_TRUE(plain) << text;
        EXPECT_EQ(shown(*plain), shown_in_full(text));
    }
}

TEST(PlainYaml, gives_up_on_everything_beyond) {
    for (std::string_view text : {
             "",
             "# nothing\n",
             "---\n",
             "a: 1\n---\n",
             "---\n---\na: 1\n",
             "# x\ra: 1\nb: 2\n",
             "%YAML 1.2\n---\na: 1\n",
             "a: 1\n...\n",
             "--- a\n",
             "text\n",
             "a: &x 1\nb: *x\n",
             "a: !!str 1\n",
             "a: |\n  text\n",
             "a: >-\n  text\n",
             "a: one\n  two\n",
             "a:\n  one\n",
             "a: \"one\n  two\"\n",
             "a: \"\\n\"\n",
             "a: 'it''s'\n",
             "a: {b: 1,\n  c: 2}\n",
             "a: {b}\n",
             "a: [b: c]\n",
             "a: {b: 1,}\n",
             "a: [1, ]\n",
             "a: {\"b\":1}\n",
             "a: [1\n",
             "a: [1}\n",
             "a: b: c\n",
             "a:\nb: 1\n",
             "a: - b\n",
             "- a\nb: c\n",
             "a: 1\n b: 2\n",
             "a:\n  b: 1\n c: 2\n",
             "a:\n  - 1\n - 2\n",
             "- \n",
             "? a\n: b\n",
             "<<: {a: 1}\n",
             "null: 1\n",
             "~: 1\n",
             "a: 1\na: 2\n",
             "a: {b: 1, b: 2}\n",
             "a: \xc3\xa9\n",
             "a: 1\r\nb: 2\r\n",
             "a: [x#y, x #y]\n",
             "a: {b: c}d\n",
             "a: \"b\"c\n",
             "a: {b: c}# no comment\n",
         }) {
        EXPECT_FALSE(parse_plain_yaml(text)) << text;
    }
}

TEST(PlainYaml, refuses_nothing_itself) {
    auto twice = parse_yaml("a: 1\nb: 2\na: 3\n");
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().error.context,
              "line 3, column 1: the key \"a\" appears twice in one map");
    std::string deep;
    for (int i = 0; i < 200; ++i) {
        deep += std::string(static_cast<std::size_t>(i) * 2, ' ') + "a:\n";
    }
    auto too_deep = parse_yaml(deep + std::string(400, ' ') + "b: 1\n");
    ASSERT_FALSE(too_deep);
    EXPECT_NE(too_deep.error().error.context.find("yaml_depth_max"), std::string::npos);
}

TEST(PlainYaml, agrees_about_every_document_of_the_repository) {
    namespace fs = std::filesystem;
    std::size_t files = 0;
    std::size_t plain_ones = 0;
    for (const char* folder : {"/tests", "/deploy", "/daemon"}) {
        for (const auto& entry :
             fs::recursive_directory_iterator(std::string(ORLOP_SOURCE_DIR) + folder)) {
            if (entry.path().extension() != ".yaml") {
                continue;
            }
            std::ifstream file(entry.path());
            std::string text((std::istreambuf_iterator<char>(file)), {});
            ++files;
            if (auto plain = parse_plain_yaml(text)) {
                ++plain_ones;
                EXPECT_EQ(shown(*plain), shown_in_full(text)) << entry.path();
            }
        }
    }
    EXPECT_GT(files, 10u);
    EXPECT_GT(plain_ones * 2, files) << "the quick way is hardly taken";
}

}  // namespace
}  // namespace orlop::control
