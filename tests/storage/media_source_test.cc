// What a request names is fetched where it is allowed, and nowhere else.
#include "storage/media_source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/media_url.h"
#include "tests/support/files.h"
#include "tests/support/http_server.h"

namespace lapidary {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

bool Never() { return false; }

MediaSource Url(const std::string& url) {
  return {MediaSource::Kind::kUrl, url};
}

absl::StatusOr<std::string> Get(const std::vector<std::string>& allowed,
                                const std::string& url) {
  MediaPolicy policy;
  policy.urls = allowed;
  policy.max_bytes = 1000;
  policy.max_time = absl::Seconds(20);
  return FetchMedia(policy, Url(url), Never);
}

// --- URLs -------------------------------------------------------------------

bool Allows(const std::string& entry, const std::string& url) {
  MediaPolicy policy;
  policy.urls = {entry};
  return AllowMedia(policy, Url(url)).ok();
}

TEST(MediaSourceTest, EntryAllowsWhatBeginsWithItPartByPart) {
  EXPECT_TRUE(Allows("https://a.org/cats/", "https://a.org/cats/1.png"));
  EXPECT_TRUE(Allows("https://a.org/cats", "https://A.ORG:443/cats/1.png"));
  EXPECT_TRUE(Allows("a.org", "https://a.org/1.png"));
  EXPECT_TRUE(Allows("http://a.org:81", "http://a.org:81/x?y=z"));
  EXPECT_FALSE(Allows("https://a.org/cats", "https://a.org/catsup.png"));
  EXPECT_FALSE(Allows("a.org", "http://a.org/1.png"));
  EXPECT_FALSE(Allows("a.org", "https://a.org.evil.com/1.png"));
  EXPECT_FALSE(Allows("a.org", "https://a.org:8443/1.png"));
  EXPECT_FALSE(Allows("a.org", "https://b.a.org/1.png"));
  EXPECT_FALSE(Allows("https://a.org/cats/", "https://a.org/cats/../x.png"));
}

TEST(MediaSourceTest, UrlsThatServersReadInSeveralWays_AreRefused) {
  for (const char* url :
       {"https://a.org@evil.com/", "https://user:pw@a.org/",
        "file:///etc/passwd", "ftp://a.org/1.png", "https://a.org/%2e%2e/x",
        "https://a.org/%2Fx", "https://a.org/a\\b", "https://a.org/a b",
        "nonsense:", "https://a.org/\xC3\xA4", "gopher://a.org/",
        "https://a.org/\n"}) {
    EXPECT_EQ(ParseMediaUrl(url).status().code(), StatusCode::kInvalidArgument)
        << url;
  }
}

TEST(MediaSourceTest, WithoutAList_NothingIsConnectedTo) {
  const HttpServer server(
      [](const std::string&) { return HttpServer::Ok(""); });
  const auto refused = Get({}, server.url("/1.png"));
  EXPECT_EQ(refused.status().code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(refused.status().message(), HasSubstr("--media-urls"));
  EXPECT_EQ(Get({"https://a.org"}, server.url("/1.png")).status().code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(server.requests(), 0);
}

TEST(MediaSourceTest, BytesComeAsTheyAre) {
  const std::string body("\x89PNG\0\r\n", 7);
  const HttpServer server([&](const std::string& path) {
    EXPECT_EQ(path, "/a.png?b=c");
    return HttpServer::Ok(body);
  });
  const auto bytes = Get({server.origin()}, server.url("/a.png?b=c"));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, body);
}

TEST(MediaSourceTest, RedirectsStayWithinTheList) {
  const HttpServer outside(
      [](const std::string&) { return HttpServer::Ok("secret"); });
  const HttpServer server([&](const std::string& path) {
    if (path == "/in/a") return HttpServer::Redirect("b");
    if (path == "/in/b") return HttpServer::Ok("b");
    if (path == "/in/up") return HttpServer::Redirect("/else");
    if (path == "/in/out") return HttpServer::Redirect(outside.url("/"));
    if (path == "/in/file") return HttpServer::Redirect("file:///etc/passwd");
    return HttpServer::Redirect(path);  // for ever
  });
  const std::vector<std::string> allowed = {server.url("/in/")};
  EXPECT_EQ(Get(allowed, server.url("/in/a")).value_or(""), "b");
  for (const char* path : {"/in/up", "/in/out"}) {
    EXPECT_EQ(Get(allowed, server.url(path)).status().code(),
              StatusCode::kPermissionDenied)
        << path;
  }
  EXPECT_FALSE(Get(allowed, server.url("/in/file")).ok());
  const auto forever = Get(allowed, server.url("/in/again"));
  EXPECT_EQ(forever.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(forever.status().message(), HasSubstr("redirected"));
  EXPECT_EQ(outside.requests(), 0);
}

// "localhost" is a name, so its address must be public, which it is not.
TEST(MediaSourceTest, NamesOfPrivateAddresses_AreNotConnectedTo) {
  const HttpServer server(
      [](const std::string&) { return HttpServer::Ok(""); });
  const std::string url =
      "http://localhost:" + std::to_string(server.port()) + "/";
  const auto refused = Get({url}, url);
  EXPECT_EQ(refused.status().code(), StatusCode::kPermissionDenied)
      << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("private"));
  EXPECT_EQ(server.requests(), 0);
}

TEST(MediaSourceTest, TooMuch_IsRefusedWithAndWithoutALength) {
  for (const std::string& head :
       {std::string("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\n\r\n")}) {
    const HttpServer server(
        [&](const std::string&) { return head + std::string(1001, 'x'); });
    const auto refused = Get({server.origin()}, server.url("/"));
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument)
        << refused.status();
    EXPECT_THAT(refused.status().message(), HasSubstr("1000 bytes"));
  }
  const HttpServer headers([&](const std::string&) {
    std::string response = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 2000; ++i) {
      response += "X-Y: " + std::string(100, 'z') + "\r\n";
    }
    return response + "\r\n";
  });
  EXPECT_FALSE(Get({headers.origin()}, headers.url("/")).ok());
}

TEST(MediaSourceTest, ServersThatFail_AreSaidToHave) {
  int code = 0;
  const HttpServer server(
      [&](const std::string&) { return HttpServer::Code(code); });
  for (const auto& [given, expected] :
       {std::pair{404, StatusCode::kNotFound},
        std::pair{403, StatusCode::kPermissionDenied},
        std::pair{400, StatusCode::kInvalidArgument},
        std::pair{503, StatusCode::kUnavailable},
        std::pair{204, StatusCode::kUnavailable}}) {
    code = given;
    EXPECT_EQ(Get({server.origin()}, server.url("/")).status().code(), expected)
        << given;
  }
  EXPECT_EQ(Get({"http://127.0.0.1:1"}, "http://127.0.0.1:1/").status().code(),
            StatusCode::kUnavailable);
}

TEST(MediaSourceTest, ServerThatSaysNothing_IsGivenUp) {
  const HttpServer server([](const std::string&) { return std::string(); });
  MediaPolicy policy;
  policy.urls = {server.origin()};
  policy.max_time = absl::Milliseconds(200);
  EXPECT_EQ(FetchMedia(policy, Url(server.url("/")), Never).status().code(),
            StatusCode::kUnavailable);
  policy.max_time = absl::Hours(1);
  EXPECT_EQ(FetchMedia(policy, Url(server.url("/")), [] { return true; })
                .status()
                .code(),
            StatusCode::kCancelled);
}

bool Public4(const char* text) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, text, &address.sin_addr), 1);
  sockaddr generic;
  std::memcpy(&generic, &address, sizeof(generic));
  return IsPublicAddress(generic);
}

bool Public6(const char* text) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
  return IsPublicAddress(reinterpret_cast<sockaddr&>(address));
}

TEST(MediaSourceTest, AddressesThatAreNotTheInternets) {
  for (const char* address : {"1.1.1.1", "93.184.216.34", "172.15.0.1",
                              "172.32.0.1", "100.128.0.1", "192.167.1.1"}) {
    EXPECT_TRUE(Public4(address)) << address;
  }
  for (const char* address :
       {"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "192.0.0.8", "198.18.0.1", "224.0.0.1", "255.255.255.255"}) {
    EXPECT_FALSE(Public4(address)) << address;
  }
  EXPECT_TRUE(Public6("2606:4700::1111"));
  for (const char* address :
       {"::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1",
        "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "2002:a00::1", "2001::1"}) {
    EXPECT_FALSE(Public6(address)) << address;
  }
}

// --- Files ------------------------------------------------------------------

class MediaFilesTest : public testing::Test {
 protected:
  MediaFilesTest() {
    mkdir(root_.c_str(), 0755);
    mkdir(folder_.c_str(), 0755);
    mkdir((folder_ + "/sub").c_str(), 0755);
    WriteBytes(folder_ + "/a.png", "inside");
    WriteBytes(folder_ + "/sub/b.png", "below");
    WriteBytes(root_ + "/secret", "outside");
    mkdir((folder_ + "-too").c_str(), 0755);
    WriteBytes(folder_ + "-too/c.png", "outside");
    policy_.folder = folder_;
    policy_.max_bytes = 100;
  }

  absl::StatusOr<std::string> Read(const std::string& name) const {
    return FetchMedia(policy_, {MediaSource::Kind::kFile, name}, Never);
  }
  void Link(const std::string& to, const std::string& from) const {
    unlink(from.c_str());
    ASSERT_EQ(symlink(to.c_str(), from.c_str()), 0);
  }

  const std::string root_ = testing::TempDir() + "/media_files";
  const std::string folder_ = root_ + "/media";
  MediaPolicy policy_;
};

TEST_F(MediaFilesTest, FilesInsideAreRead) {
  EXPECT_EQ(Read("a.png").value_or(""), "inside");
  EXPECT_EQ(Read("sub/../sub/b.png").value_or(""), "below");
  EXPECT_EQ(Read(folder_ + "/a.png").value_or(""), "inside");
  Link("sub/b.png", folder_ + "/link");
  EXPECT_EQ(Read("link").value_or(""), "below");
}

// As what is nowhere: nobody learns which files there are outside.
TEST_F(MediaFilesTest, WhatLeadsOutside_IsNotFound) {
  Link(root_ + "/secret", folder_ + "/out");
  Link("..", folder_ + "/up");
  for (const std::string& name :
       {std::string("../secret"), std::string("out"), std::string("up/secret"),
        root_ + "/secret", std::string("/etc/passwd"),
        folder_ + "-too/c.png"}) {
    const absl::Status status = Read(name).status();
    EXPECT_EQ(status.code(), StatusCode::kNotFound) << name << " " << status;
  }
  const std::string nowhere(Read("/etc/nowhere").status().message());
  EXPECT_EQ(Read("/etc/passwd").status().message(),
            absl::StrReplaceAll(nowhere, {{"nowhere", "passwd"}}));
}

TEST_F(MediaFilesTest, WhatIsNoFileOfItsSize_IsRefused) {
  WriteBytes(folder_ + "/large", std::string(101, 'x'));
  unlink((folder_ + "/pipe").c_str());
  ASSERT_EQ(mkfifo((folder_ + "/pipe").c_str(), 0644), 0);
  for (const char* name : {"sub", "large", "pipe"}) {
    EXPECT_EQ(Read(name).status().code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(Read("missing").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Read(std::string("a.png\0x", 7)).status().code(),
            StatusCode::kNotFound);
}

TEST_F(MediaFilesTest, WithoutAFolder_NoneIsRead) {
  policy_.folder.clear();
  EXPECT_EQ(Read(root_ + "/secret").status().code(),
            StatusCode::kPermissionDenied);
  EXPECT_THAT(Read("a.png").status().message(), HasSubstr("--media-files"));
}

TEST_F(MediaFilesTest, PolicyThatCannotBe_IsNamed) {
  EXPECT_TRUE(CheckMediaPolicy(policy_).ok());
  policy_.folder += "/a.png";
  EXPECT_THAT(CheckMediaPolicy(policy_).message(), HasSubstr("--media-files"));
  policy_.folder.clear();
  policy_.urls = {"file:///"};
  EXPECT_THAT(CheckMediaPolicy(policy_).message(), HasSubstr("--media-urls"));
}

}  // namespace
}  // namespace lapidary
