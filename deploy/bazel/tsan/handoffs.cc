// Shows ThreadSanitizer the hand-overs inside Debian's CAF, Abseil and gRPC.
//
// Those libraries are not instrumented, so ThreadSanitizer does not see the
// atomics by which a mailbox or an absl::Mutex passes data from one thread to
// another, and calls every message a race. Suppressing all reports with CAF on
// the stack would hide ours too: an actor's handlers run below CAF's scheduler.
//
// This library is preloaded (see run). Each function takes the place of one of
// theirs, tells ThreadSanitizer what that one orders, and calls it:
//
//   Releases(x)   what this thread did so far ...
//   Acquires(x)   ... has happened before what this thread does next.
//
// It errs towards too much order: an actor acquires what all its senders did
// before their latest message, be that the one in hand or not. Names are those
// of Debian 12 on 64-bit machines; where one does not exist, nothing calls its
// stand-in.
#include <dlfcn.h>
#include <grpc/grpc.h>

#include <cstdint>

extern "C" {
void __tsan_acquire(void* address) __attribute__((weak));  // NOLINT
void __tsan_release(void* address) __attribute__((weak));  // NOLINT
}

namespace {

using Word = std::uintptr_t;
using Function = Word (*)(Word, Word, Word, Word, Word, Word);

void Acquires(Word address) {
  if (__tsan_acquire) __tsan_acquire(reinterpret_cast<void*>(address));
}

void Releases(Word address) {
  if (__tsan_release) __tsan_release(reinterpret_cast<void*>(address));
}

template <typename Key>
void Nothing(Key) {}

// Both, for a reference that is dropped: the last to go destroys the object
// after all that the others did with it.
void Exchanges(Word address) {
  Releases(address);
  Acquires(address);
}

// `resume` is called through CAF's resumable, 160 bytes into the actor.
void AcquiresActor(Word resumable) { Acquires(resumable - 160); }
void ReleasesActor(Word resumable) { Releases(resumable - 160); }

// A visitor of a mailbox begins with a pointer to its actor.
void AcquiresVisited(Word visitor) {
  Acquires(*reinterpret_cast<Word*>(visitor));
}

// The parameters of an actor's enqueue: the actor, and a unique_ptr to the
// message, which lies in memory as it has a destructor.
struct Enqueued {
  Word actor;
  Word message;
};

void ReleasesBoth(Enqueued enqueued) {
  Releases(enqueued.actor);
  Releases(*reinterpret_cast<Word*>(enqueued.message));
}

// The references to a gRPC call on the server are counted 12 bytes into it.
void ExchangesReferences(Word call) { Exchanges(call + 12); }

}  // namespace

// Replaces the function `symbol`, whose parameters all go in registers, by one
// that calls before(p), it, and after(p), p being its parameter `key`.
#define HAND_OFF(name, symbol, key, before, after)                      \
  extern "C" Word name(Word, Word, Word, Word, Word, Word) asm(symbol); \
  Word name(Word p0, Word p1, Word p2, Word p3, Word p4, Word p5) {     \
    static const Function next =                                        \
        reinterpret_cast<Function>(dlsym(RTLD_NEXT, symbol));           \
    before(key);                                                        \
    Word result = next(p0, p1, p2, p3, p4, p5);                         \
    after(key);                                                         \
    return result;                                                      \
  }

#define ABSL(symbol) "_ZN4absl7debian3" symbol
#define ABSL_CONST(symbol) "_ZNK4absl7debian3" symbol
#define MUTEX(symbol) ABSL("5Mutex" symbol)
#define CONDITION "ERKNS0_9ConditionE"
#define DURATION "NS0_8DurationE"
#define TIME "NS0_4TimeE"

HAND_OFF(Lock, MUTEX("4LockEv"), p0, Nothing, Acquires)
HAND_OFF(ReaderLock, MUTEX("10ReaderLockEv"), p0, Nothing, Acquires)
HAND_OFF(TryLock, MUTEX("7TryLockEv"), p0, Nothing, Acquires)
HAND_OFF(ReaderTryLock, MUTEX("13ReaderTryLockEv"), p0, Nothing, Acquires)
HAND_OFF(Unlock, MUTEX("6UnlockEv"), p0, Releases, Nothing)
HAND_OFF(ReaderUnlock, MUTEX("12ReaderUnlockEv"), p0, Releases, Nothing)
HAND_OFF(LockWhen, MUTEX("8LockWhen" CONDITION), p0, Nothing, Acquires)
HAND_OFF(LockWhenWithTimeout, MUTEX("19LockWhenWithTimeout" CONDITION DURATION),
         p0, Nothing, Acquires)
HAND_OFF(LockWhenWithDeadline, MUTEX("20LockWhenWithDeadline" CONDITION TIME),
         p0, Nothing, Acquires)
HAND_OFF(Await, MUTEX("5Await" CONDITION), p0, Releases, Acquires)
HAND_OFF(AwaitWithTimeout, MUTEX("16AwaitWithTimeout" CONDITION DURATION), p0,
         Releases, Acquires)
HAND_OFF(AwaitWithDeadline, MUTEX("17AwaitWithDeadline" CONDITION TIME), p0,
         Releases, Acquires)

HAND_OFF(Wait, ABSL("7CondVar4WaitEPNS0_5MutexE"), p1, Releases, Acquires)
HAND_OFF(WaitWithTimeout,
         ABSL("7CondVar15WaitWithTimeoutEPNS0_5MutexE" DURATION), p1, Releases,
         Acquires)
HAND_OFF(WaitWithDeadline, ABSL("7CondVar16WaitWithDeadlineEPNS0_5MutexE" TIME),
         p1, Releases, Acquires)

HAND_OFF(Notify, ABSL("12Notification6NotifyEv"), p0, Releases, Nothing)
HAND_OFF(WaitForNotification,
         ABSL_CONST("12Notification19WaitForNotificationEv"), p0, Nothing,
         Acquires)
HAND_OFF(WaitForNotificationWithTimeout,
         ABSL_CONST("12Notification30WaitForNotificationWithTimeoutE" DURATION),
         p0, Nothing, Acquires)
HAND_OFF(WaitForNotificationWithDeadline,
         ABSL_CONST("12Notification31WaitForNotificationWithDeadlineE" TIME),
         p0, Nothing, Acquires)
HAND_OFF(DecrementCount, ABSL("15BlockingCounter14DecrementCountEv"), p0,
         Releases, Nothing)
HAND_OFF(WaitForCount, ABSL("15BlockingCounter4WaitEv"), p0, Nothing, Acquires)

#define SCHEDULED(symbol) "_ZN3caf15scheduled_actor" symbol
#define BLOCKING(symbol) "_ZN3caf14blocking_actor" symbol
#define ELEMENT "ERNS_15mailbox_elementE"
#define UNIT "PNS_14execution_unitE"
#define ENQUEUE                                                            \
  "7enqueueESt10unique_ptrINS_15mailbox_elementENS_6detail8disposerEEPNS_" \
  "14execution_unitE"

// A message goes in; the actor runs, and runs again on another thread.
HAND_OFF(Enqueue, SCHEDULED(ENQUEUE), (Enqueued{p0, p1}), ReleasesBoth, Nothing)
HAND_OFF(Launch, SCHEDULED("6launchE" UNIT "bb"), p0, Releases, Nothing)
HAND_OFF(ResumeActor, SCHEDULED("6resumeE" UNIT "m"), p0, Acquires, Releases)
HAND_OFF(Resume, "_ZThn160_N3caf15scheduled_actor6resumeE" UNIT "m", p0,
         AcquiresActor, ReleasesActor)
// Released after each message too: once its mailbox is empty, another thread
// may run the actor before resume has come back.
HAND_OFF(Consume, SCHEDULED("7consume" ELEMENT), p0, Acquires, Releases)
HAND_OFF(Reactivate, SCHEDULED("10reactivate" ELEMENT), p0, Acquires, Releases)
HAND_OFF(BlockingEnqueue, BLOCKING(ENQUEUE), p0, Releases, Nothing)
HAND_OFF(BlockingVisit, BLOCKING("15mailbox_visitorcl" ELEMENT), p0,
         AcquiresVisited, Nothing)

// What an actor leaves unread when it ends is destroyed by it.
HAND_OFF(DeleteMessage, "_ZNK3caf14memory_managed16request_deletionEb", p0,
         Acquires, Nothing)

// References are dropped.
HAND_OFF(Deref, "_ZNK3caf11ref_counted5derefEv", p0, Exchanges, Nothing)
HAND_OFF(ReleaseActor,
         "_ZN3caf21intrusive_ptr_releaseEPNS_19actor_control_blockE", p0,
         Exchanges, Nothing)
HAND_OFF(ReleaseActorWeakly,
         "_ZN3caf26intrusive_ptr_release_weakEPNS_19actor_control_blockE", p0,
         Exchanges, Nothing)

// The last reference to a call may be dropped in gRPC itself.
HAND_OFF(ScheduleOnDone,
         "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb", p0,
         ExchangesReferences, Nothing)

// gRPC: what is started under a tag has happened before what that tag's event,
// or the callback that the event stands for, sets off.
namespace {

template <typename Type>
Type* Next(Type*, const char* symbol) {
  return reinterpret_cast<Type*>(dlsym(RTLD_NEXT, symbol));
}

Word Key(void* tag) { return reinterpret_cast<Word>(tag); }

}  // namespace

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops,
                                      size_t nops, void* tag, void* reserved) {
  static const auto next = Next(&grpc_call_start_batch, __func__);
  Releases(Key(tag));
  return next(call, ops, nops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                      gpr_timespec deadline, void* reserved) {
  static const auto next = Next(&grpc_completion_queue_next, __func__);
  grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) Acquires(Key(event.tag));
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static const auto next = Next(&grpc_completion_queue_pluck, __func__);
  grpc_event event = next(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) Acquires(Key(tag));
  return event;
}
