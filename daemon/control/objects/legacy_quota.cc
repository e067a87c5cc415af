// memquota, quota and rule of config.istio.io/v1alpha2 (istio-semantics §13).
#include "daemon/control/objects/decoders.h"
#include "daemon/control/objects/legacy.h"
#include "daemon/control/objects/legacy_service.h"
#include "daemon/control/objects/mixer_expression.h"

#include <fmt/core.h>

namespace orlop::control {
namespace {

constexpr std::int64_t amount_max = 1'000'000'000;
constexpr auto attributes_known =
    "known: source.labels[\"x\"], source.service, source.namespace, source.user, source.ip, "
    "destination.labels[\"x\"], destination.service, destination.namespace, request.host, "
    "request.path, request.method, request.headers[\"x\"] and \"text\", joined by |";

// maxAmount and validDuration of a quota or an override.
void read_amount(FieldReader& reader, std::uint64_t& amount, Duration& valid) {
    auto written = reader.integer("maxAmount", 0, amount_max);
    amount = static_cast<std::uint64_t>(written.value_or(0));
    if (!written && !reader.has("maxAmount")) {
        reader.error_here("maxAmount is missing", "the requests of one validDuration");
    }
    valid = reader.duration("validDuration", ZeroDuration::allowed).value_or(Duration::zero());
}

std::string text_of_number(FieldReader& reader, const Field& field, const std::string& path) {
    if (field.value.is_scalar()) {
        return field.value.text;  // `8080` without quotes was possible in Mixer's configuration
    }
    reader.report().error(
        field.value.line, path, "found " + field.value.describe() + ", want text");
    return {};
}

MemquotaSpec::Entry read_quota(const DecodeContext& context, const Node& item, std::string path) {
    MemquotaSpec::Entry out;
    FieldReader reader(context.report, &item, std::move(path));
    out.line = item.line;
    out.name = reader.text_or("name", "");
    if (out.name.empty()) {
        reader.error_here("name is missing", "NAME.quota.NAMESPACE of a quota object");
    }
    read_amount(reader, out.max_amount, out.valid_duration);
    reader.each("overrides", [&](const Node& entry, const std::string& entry_path) {
        FieldReader other(context.report, &entry, entry_path);
        model::QuotaOverride override_spec;
        other.each_field("dimensions", [&](const Field& field, const std::string& field_path) {
            override_spec.dimensions.emplace_back(field.key,
                                                  text_of_number(other, field, field_path));
        });
        if (override_spec.dimensions.empty()) {
            other.error_here("dimensions are missing", "name what the override is for");
        }
        read_amount(other, override_spec.max_amount, override_spec.valid_duration);
        out.overrides.push_back(std::move(override_spec));
    });
    return out;
}

}  // namespace

ObjectSpec decode_memquota(const DecodeContext& context) {
    MemquotaSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    spec.each("quotas", [&](const Node& item, const std::string& path) {
        out.quotas.push_back(read_quota(context, item, path));
    });
    spec.duration("minDeduplicationDuration");
    note_not_carried(spec, "minDeduplicationDuration", "every request is counted once");
    if (out.quotas.empty() && !context.report.failed()) {
        context.report.error(context.root.line, "spec.quotas", "no quota is given");
    }
    return out;
}

ObjectSpec decode_quota_instance(const DecodeContext& context) {
    QuotaInstanceSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    spec.each_field("dimensions", [&](const Field& field, const std::string& path) {
        std::string text = text_of_number(spec, field, path);
        auto expression = parse_attribute_expression(text);
        if (expression) {
            out.dimensions.emplace_back(field.key, *std::move(expression));
        } else {
            context.report.error(
                field.value.line, path, expression.error().context, attributes_known);
        }
    });
    return out;
}

ObjectSpec decode_mixer_rule(const DecodeContext& context) {
    MixerRuleSpec out;
    FieldReader spec(context.report, context.root.find("spec"), "spec");
    auto match = parse_mixer_match(spec.text_or("match", ""));
    if (match) {
        out.conditions = *std::move(match);
    } else {
        spec.error("match",
                   match.error().context,
                   "comparisons of an attribute with \"text\" by == or !=, joined by &&");
    }
    spec.each("actions", [&](const Node& item, const std::string& path) {
        FieldReader reader(context.report, &item, path);
        MixerRuleSpec::Action action;
        action.line = item.line;
        action.handler = reader.text_or("handler", "");
        action.instances = reader.texts("instances");
        if (action.handler.empty() || action.instances.empty()) {
            reader.error_here("handler and instances are needed");
        }
        out.actions.push_back(std::move(action));
    });
    if (out.actions.empty() && !context.report.failed()) {
        context.report.error(context.root.line, "spec.actions", "no action is given");
    }
    return out;
}

}  // namespace orlop::control
