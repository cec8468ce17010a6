// A web server on a free port of this machine, for what fetches.
//
//   const HttpServer server([](const std::string& path) {
//     return HttpServer::Ok("bytes");
//   });
//   Fetch(server.url("/cat.png"));
#ifndef LAPIDARY_TESTS_SUPPORT_HTTP_SERVER_H_
#define LAPIDARY_TESTS_SUPPORT_HTTP_SERVER_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace lapidary {

class HttpServer {
 public:
  // Makes the whole response to a GET of `path`; "" says nothing, and keeps the
  // connection open until the client closes it.
  using Handler = std::function<std::string(const std::string& path)>;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    listen(listener_, 64);
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { Accept(); });
  }
  ~HttpServer() {
    shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (std::thread& thread : serving_) thread.join();
    close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string origin() const {
    return "http://127.0.0.1:" + std::to_string(port_);
  }
  std::string url(const std::string& path) const { return origin() + path; }
  int port() const { return port_; }
  int requests() const { return requests_; }

  static std::string Ok(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
  }
  static std::string Code(int code) {
    return "HTTP/1.1 " + std::to_string(code) +
           " X\r\nContent-Length: 0\r\n\r\n";
  }
  static std::string Redirect(const std::string& to) {
    return "HTTP/1.1 302 Found\r\nLocation: " + to +
           "\r\nContent-Length: 0\r\n\r\n";
  }

 private:
  void Accept() {
    for (;;) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      serving_.emplace_back([this, client] { Serve(client); });
    }
  }

  void Serve(int client) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = recv(client, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      request.append(buffer, static_cast<size_t>(got));
    }
    const size_t from = request.find(' ') + 1;
    const size_t to = request.find(' ', from);
    if (to != std::string::npos) {
      ++requests_;
      const std::string response = handler_(request.substr(from, to - from));
      size_t sent = 0;
      while (sent < response.size()) {
        const ssize_t more = send(client, response.data() + sent,
                                  response.size() - sent, MSG_NOSIGNAL);
        if (more <= 0) break;
        sent += static_cast<size_t>(more);
      }
      while (response.empty() && recv(client, buffer, 1, 0) > 0) {
      }
    }
    close(client);
  }

  const Handler handler_;
  const int listener_ = socket(AF_INET, SOCK_STREAM, 0);
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::thread accepting_;
  std::vector<std::thread> serving_;  // of accepting_'s thread alone
};

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_HTTP_SERVER_H_
