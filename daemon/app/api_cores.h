// Questions to the data cores, answered by message while the control loop goes on.
//
// A core that does not answer within the time limit is left out: its answer stays as constructed.
#pragma once

#include "daemon/app/core_set.h"
#include "daemon/runtime/event.h"
#include "daemon/runtime/loop.h"
#include "daemon/runtime/task.h"

#include <functional>
#include <memory>
#include <vector>

namespace orlop::app {

inline constexpr Duration core_answer_max = std::chrono::seconds(2);

template <class Answer> struct CoreAnswers {
    CoreAnswers(runtime::Loop& loop, std::size_t cores)
        : done(loop), answers(cores), missing(cores) {}
    static void give_up(void* self) { static_cast<CoreAnswers*>(self)->done.set(); }

    runtime::Event done;
    std::vector<Answer> answers;
    std::size_t missing;
};

// `question` runs once on each core's thread; answers in the order of the cores.
template <class Answer>
runtime::Task<std::vector<Answer>>
ask_cores(runtime::Loop* loop, CoreSet* cores, std::function<Answer(proxy::ProxyCore&)> question) {
    auto state = std::make_shared<CoreAnswers<Answer>>(*loop, cores->size());
    runtime::Timer limit(&CoreAnswers<Answer>::give_up, state.get());
    loop->timers().set(limit, loop->now() + core_answer_max);
    for (std::size_t i = 0; i < cores->size(); ++i) {
        cores->tell(i, [state, question, i, loop](proxy::ProxyCore& core) {
            auto answer = std::make_shared<Answer>(question(core));
            (void)loop->post([state, answer, i] {
                state->answers[i] = std::move(*answer);
                if (--state->missing == 0) {
                    state->done.set();
                }
            });
        });
    }
    co_await state->done;
    limit.cancel();
    co_return std::move(state->answers);
}

}  // namespace orlop::app
