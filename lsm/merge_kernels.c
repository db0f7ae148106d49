/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/merge_state.h"

#define KERNEL tac_merge_kernel_fixed_8
#define KERNEL_KEY_BYTES 8
#define KERNEL_IS_FIXED 1
#include "lsm/merge_kernel.h"

#define KERNEL tac_merge_kernel_fixed_16
#define KERNEL_KEY_BYTES 16
#define KERNEL_IS_FIXED 1
#include "lsm/merge_kernel.h"

#define KERNEL tac_merge_kernel_fixed
#define KERNEL_KEY_BYTES 0
#define KERNEL_IS_FIXED 1
#include "lsm/merge_kernel.h"

#define KERNEL tac_merge_kernel_variable
#define KERNEL_KEY_BYTES 0
#define KERNEL_IS_FIXED 0
#include "lsm/merge_kernel.h"
