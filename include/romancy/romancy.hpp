// romancy: everything a program with workflows needs. See workflow.hpp first, then context.hpp and activity.hpp.
#pragma once
#include <romancy/activity.hpp>
#include <romancy/async.hpp>
#include <romancy/bytes.hpp>
#include <romancy/channel.hpp>
#include <romancy/concurrent.hpp>
#include <romancy/context.hpp>
#include <romancy/error.hpp>
#include <romancy/hooks.hpp>
#include <romancy/json.hpp>
#include <romancy/retry.hpp>
#include <romancy/task.hpp>
#include <romancy/transaction.hpp>
#include <romancy/worker.hpp>
#include <romancy/workflow.hpp>
