// lapidary tokenize: text to token ids, and back.
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "deploy/cli/command.h"
#include "deploy/cli/connection.h"
#include "deploy/cli/json_output.h"
#include "deploy/cli/node_flags.h"
#include "deploy/cli/prompt_flags.h"
#include "grpcpp/client_context.h"
#include "storage/chat_template.h"
#include "storage/tokenizer.h"

namespace lapidary::cli {
namespace {

std::vector<ChatMessage> ToChatMessages(const v1::Chat& chat) {
  std::vector<ChatMessage> messages;
  for (const v1::Message& message : chat.messages()) {
    std::vector<ChatPart> parts;
    for (const v1::Part& part : message.parts()) {
      const bool image = part.has_image();
      const bool audio = part.has_audio();
      parts.push_back({image   ? ChatPart::Kind::kImage
                       : audio ? ChatPart::Kind::kAudio
                               : ChatPart::Kind::kText,
                       part.text()});
    }
    messages.push_back(ChatMessage::List(message.role(), std::move(parts)));
  }
  return messages;
}

class TokenizeCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "tokenize",
        "token ids of a text, or the text of token ids",
        "MODEL|--server=HOST:PORT [TEXT]",
        "MODEL is a packed or a Hugging Face folder; only its tokenizer is "
        "read. A text gets <bos> in front, and control tokens spelt out in "
        "it are recognised, as by Hugging Face's tokenizer. With --json: "
        "{\"ids\":[…]}, or {\"text\":…} for --ids.",
        {"lapidary tokenize nano \"Translate cat to Russian.\"",
         "lapidary tokenize nano --text-file=book.txt --json",
         "lapidary tokenize nano --messages=chat.json",
         "lapidary tokenize nano --ids=2,105,2364"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Section("Input");
    flags->OptionalText("text-file", "FILE", "A text; - is standard input.",
                        &text_file_);
    flags->OptionalText("messages", "FILE",
                        "A conversation as Hugging Face writes it, put "
                        "through Gemma's chat template; - is standard input.",
                        &messages_);
    flags->OptionalText("ids", "ID,ID,…", "Token ids, to become text.", &ids_);
    flags->Section("How");
    flags->Switch("bos", "Put <bos> in front of a text.", &bos_);
    flags->Switch("generation-prompt",
                  "End a conversation with the opening of the model's turn.",
                  &generation_prompt_);
    flags->Switch("skip-special", "Leave control tokens out of the text.",
                  &skip_special_);
    flags->Switch("json", "Print one JSON object.", &json_);
    flags->Text("server", "HOST:PORT",
                "Ask the lapidaryd there. MODEL may then be left out.",
                &server_);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    const bool lone_text = !server_.empty() && arguments.size() == 1 &&
                           !text_file_ && !messages_ && !ids_;
    if (!arguments.empty() && !lone_text) model_ = arguments[0];
    if (lone_text || arguments.size() == 2) text_ = arguments.back();
    const int sources = text_.has_value() + text_file_.has_value() +
                        messages_.has_value() + ids_.has_value();
    if (arguments.size() > 2 || sources != 1 ||
        (model_.empty() && server_.empty())) {
      return UsageError(
          "MODEL and one of TEXT (in quotes), --text-file, "
          "--messages and --ids are wanted");
    }
    if (server_.empty()) {
      absl::Status there =
          CheckFolder(model_, "give a packed model or a Hugging Face folder");
      if (!there.ok()) return there;
    }
    return ids_ ? Detokenize() : Tokenize();
  }

 private:
  absl::Status Detokenize() {
    absl::StatusOr<std::vector<int32_t>> ids = ParseIds(*ids_);
    if (!ids.ok()) return ids.status();
    absl::StatusOr<std::string> text =
        server_.empty() ? DetokenizeHere(*ids) : DetokenizeThere(*ids);
    if (!text.ok()) return text.status();
    std::cout << (json_ ? ToLine({{"text", *text}}) : *text) << "\n";
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> DetokenizeHere(
      const std::vector<int32_t>& ids) const {
    auto tokenizer = Tokenizer::Load(model_);
    if (!tokenizer.ok()) return tokenizer.status();
    for (const int32_t id : ids) {
      if (id < 0 || id >= (*tokenizer)->id_limit()) {
        return absl::InvalidArgumentError(
            absl::StrCat("--ids: ", id, " is not in [0, ",
                         (*tokenizer)->id_limit(), "), the vocabulary"));
      }
    }
    return (*tokenizer)->Decode(ids, skip_special_);
  }

  absl::StatusOr<std::string> DetokenizeThere(
      const std::vector<int32_t>& ids) const {
    auto connection = Connection::ToServer(server_, model_);
    if (!connection.ok()) return connection.status();
    v1::DetokenizeRequest request;
    request.set_model((*connection)->model());
    request.mutable_ids()->Assign(ids.begin(), ids.end());
    request.set_skip_special(skip_special_);
    grpc::ClientContext context;
    v1::DetokenizeResponse response;
    absl::Status status = FromGrpc(
        (*connection)->stub().Detokenize(&context, request, &response));
    if (!status.ok()) return status;
    return response.text();
  }

  absl::Status Tokenize() {
    v1::Prompt prompt;
    if (messages_) {
      absl::StatusOr<std::string> json = ReadInput(*messages_);
      if (!json.ok()) return json.status();
      absl::StatusOr<v1::Chat> chat = ParseMessages(*json, *messages_);
      if (!chat.ok()) return chat.status();
      *prompt.mutable_chat() = *std::move(chat);
      prompt.mutable_chat()->set_add_generation_prompt(generation_prompt_);
    } else {
      if (text_file_) {
        absl::StatusOr<std::string> text = ReadInput(*text_file_);
        if (!text.ok()) return text.status();
        text_ = *std::move(text);
      }
      prompt.set_text(*text_);
    }
    absl::StatusOr<std::vector<int32_t>> ids =
        server_.empty() ? TokenizeHere(prompt) : TokenizeThere(prompt);
    if (!ids.ok()) return ids.status();
    std::cout << (json_ ? ToLine({{"ids", *ids}}) : absl::StrJoin(*ids, ","))
              << "\n";
    return absl::OkStatus();
  }

  // The tokenizer alone does not know how many tokens an image or sound has.
  static absl::Status CheckTextAlone(const v1::Chat& chat) {
    for (const v1::Message& message : chat.messages()) {
      for (const v1::Part& part : message.parts()) {
        if (part.content_case() == v1::Part::kText) continue;
        return absl::InvalidArgumentError(
            "the conversation has an image or a sound, whose tokens only a "
            "node knows: ask one with --server, or leave it out");
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> TokenizeHere(
      const v1::Prompt& prompt) const {
    auto tokenizer = Tokenizer::Load(model_);
    if (!tokenizer.ok()) return tokenizer.status();
    if (prompt.has_chat()) {
      absl::Status text = CheckTextAlone(prompt.chat());
      if (!text.ok()) return text;
      return RenderChatIds(**tokenizer, ToChatMessages(prompt.chat()),
                           generation_prompt_);
    }
    absl::StatusOr<std::vector<int32_t>> ids =
        (*tokenizer)->Encode(prompt.text(), SpecialTokens::kRecognise);
    if (ids.ok() && bos_) ids->insert(ids->begin(), (*tokenizer)->bos_id());
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> TokenizeThere(
      const v1::Prompt& prompt) const {
    if (prompt.has_text()) {
      absl::Status valid = CheckUtf8(prompt.text(), "the text");
      if (!valid.ok()) return valid;
    }
    auto connection = Connection::ToServer(server_, model_);
    if (!connection.ok()) return connection.status();
    v1::TokenizeRequest request;
    request.set_model((*connection)->model());
    *request.mutable_prompt() = prompt;
    request.set_omit_bos(!bos_);
    grpc::ClientContext context;
    v1::TokenizeResponse response;
    absl::Status status =
        FromGrpc((*connection)->stub().Tokenize(&context, request, &response));
    if (!status.ok()) return status;
    return std::vector<int32_t>(response.ids().begin(), response.ids().end());
  }

  std::string model_;
  std::optional<std::string> text_, text_file_, messages_, ids_;
  bool bos_ = true;
  bool generation_prompt_ = false;
  bool skip_special_ = false;
  bool json_ = false;
  std::string server_;
};

}  // namespace

std::unique_ptr<Command> MakeTokenizeCommand() {
  return std::make_unique<TokenizeCommand>();
}

}  // namespace lapidary::cli
