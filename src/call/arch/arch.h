/* SPDX-License-Identifier: MIT */
#pragma once

#if defined(__x86_64__)
#include "call/arch/x86_64/arch.h"
#elif defined(__i386__)
#include "call/arch/i386/arch.h"
#elif defined(__aarch64__)
#include "call/arch/aarch64/arch.h"
#else
#error "clone_extended() has no stub for this processor"
#endif
