#include "daemon/proxy/finish.h"

#include "daemon/base/log.h"
#include "daemon/telemetry/access_log.h"

namespace orlop::proxy {

void finish_record(ProxyCore& core, const Pinned& pinned, telemetry::RequestRecord& record) {
    record.duration = core.loop().now() - record.started;
    core.explain().add(record);
    log_record(core, pinned, record);
}

void log_record(ProxyCore& core, const Pinned& pinned, const telemetry::RequestRecord& record) {
    auto encoding = pinned.snapshot->mesh().access_log;
    if (encoding != model::AccessLogEncoding::off) {
        telemetry::LineBuffer buffer;
        auto format = encoding == model::AccessLogEncoding::json ? telemetry::LineFormat::json
                                                                 : telemetry::LineFormat::text;
        std::string_view line = telemetry::format_access_log(record, format, buffer);
        if (core.line_tap()) {
            core.line_tap()(record, line);
        }
        orlop::write_access_log(std::string(line));
    }
}

}  // namespace orlop::proxy
