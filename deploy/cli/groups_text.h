// A packed model's weights by group, as pack and inspect print them.
#ifndef LAPIDARY_DEPLOY_CLI_GROUPS_TEXT_H_
#define LAPIDARY_DEPLOY_CLI_GROUPS_TEXT_H_

#include <string>
#include <vector>

#include "storage/tensor_groups.h"

namespace lapidary::cli {

// One line for each group and dtype, under a heading:
//
//   weights                  dtype  tensors       size  rms error
//   FFN                      int4        90    777 MiB     6.10 %
std::string GroupsText(const std::vector<TensorGroup>& groups);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_GROUPS_TEXT_H_
