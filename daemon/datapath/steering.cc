#include "daemon/datapath/steering.h"

#include "bpf/abi.h"
#include "bpf/enter.skel.h"
#include "bpf/steer.skel.h"
#include "daemon/datapath/libbpf_words.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/core.h>

#include <errno.h>
#include <vector>

namespace orlop::datapath {
namespace {

constexpr const char* load_remedy = "(CAP_BPF and CAP_NET_ADMIN needed, kernel 6.1 or newer; see "
                                    "`orlopctl check --pre`)";

struct SkeletonDeleter {
    void operator()(steer_bpf* object) const { steer_bpf__destroy(object); }
    void operator()(enter_bpf* object) const { enter_bpf__destroy(object); }
};

Result<void> share_maps(bpf_object* object, bpf_object* maps_of) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        bpf_map* shared = bpf_object__find_map_by_name(maps_of, bpf_map__name(map));
        if (shared == nullptr || bpf_map__reuse_fd(map, bpf_map__fd(shared)) != 0) {
            return fail_libbpf(errno, fmt::format("share map {}", bpf_map__name(map)));
        }
    }
    return {};
}

Result<void> load_body(bpf_object* maps_of) {
    std::unique_ptr<steer_bpf, SkeletonDeleter> body(steer_bpf__open());
    if (!body) {
        return fail_libbpf(errno, "open the steering program");
    }
    if (auto shared = share_maps(body->obj, maps_of); !shared) {
        return shared;
    }
    if (int error = steer_bpf__load(body.get()); error != 0) {
        return fail_libbpf(error, fmt::format("load the steering program {}", load_remedy));
    }
    int program = bpf_program__fd(body->progs.orlop_steer);
    for (std::uint32_t family : {ORLOP_FAMILY_V4, ORLOP_FAMILY_V6}) {
        if (bpf_map_update_elem(bpf_map__fd(body->maps.bodies), &family, &program, BPF_ANY) != 0) {
            return fail_errno(errno, "enter the steering program into map bodies");
        }
    }
    return {};
}

bool holds_slot(const bpf_insn& instruction) {
    std::uint8_t kind = BPF_CLASS(instruction.code);
    bool sets = (kind == BPF_ALU || kind == BPF_ALU64) && BPF_OP(instruction.code) == BPF_MOV &&
                BPF_SRC(instruction.code) == BPF_K;
    return (sets || kind == BPF_ST) &&
           instruction.imm == static_cast<std::int32_t>(ORLOP_SLOT_PLACEHOLDER);
}

// The sample's descriptors of the maps end with it; those of `maps_of` stay.
void name_map_of(bpf_insn& instruction, bpf_object* sample, bpf_object* maps_of) {
    if (instruction.code != (BPF_LD | BPF_DW | BPF_IMM) ||
        instruction.src_reg != BPF_PSEUDO_MAP_FD) {
        return;
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, sample) {
        if (bpf_map__fd(map) == instruction.imm) {
            instruction.imm = bpf_object__find_map_fd_by_name(maps_of, bpf_map__name(map));
            return;
        }
    }
}

}  // namespace

struct Steering::Entry {
    std::vector<bpf_insn> instructions;  // maps and all filled in, but for the slot
    std::size_t slot_at = 0;
};

Steering::Steering(std::unique_ptr<Entry> entry) : entry_(std::move(entry)) {}
Steering::Steering(Steering&&) noexcept = default;
Steering& Steering::operator=(Steering&&) noexcept = default;
Steering::~Steering() = default;

Result<Steering> Steering::load(bpf_object* maps_of) {
    if (auto loaded = load_body(maps_of); !loaded) {
        return std::unexpected(loaded.error());
    }
    std::unique_ptr<enter_bpf, SkeletonDeleter> sample(enter_bpf__open());
    if (!sample) {
        return fail_libbpf(errno, "open the pods' entry program");
    }
    if (auto shared = share_maps(sample->obj, maps_of); !shared) {
        return std::unexpected(shared.error());
    }
    // Loaded once as it is, so that whatever keeps a pod from being captured shows at the start.
    if (int error = enter_bpf__load(sample.get()); error != 0) {
        return fail_libbpf(error, fmt::format("load the pods' entry program {}", load_remedy));
    }
    auto entry = std::make_unique<Entry>();
    const bpf_insn* first = bpf_program__insns(sample->progs.orlop_enter);
    entry->instructions.assign(first, first + bpf_program__insn_cnt(sample->progs.orlop_enter));
    std::size_t found = 0;
    for (std::size_t at = 0; at < entry->instructions.size(); ++at) {
        bpf_insn& instruction = entry->instructions[at];
        if (holds_slot(instruction)) {
            entry->slot_at = at;
            ++found;
        }
        name_map_of(instruction, sample->obj, maps_of);
    }
    if (found != 1) {
        return fail(ErrorKind::internal,
                    fmt::format("the pods' entry program names its slot {} times", found));
    }
    return Steering(std::move(entry));
}

Result<UniqueFd> Steering::make_entry(std::uint32_t slot) const {
    std::vector<bpf_insn> copy = entry_->instructions;
    copy[entry_->slot_at].imm = static_cast<std::int32_t>(slot);
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_SK_LOOKUP);
    UniqueFd program(bpf_prog_load(
        BPF_PROG_TYPE_SK_LOOKUP, "orlop_enter", "Apache-2.0", copy.data(), copy.size(), &options));
    if (!program.valid()) {
        return fail_errno(errno, fmt::format("load a pod's entry program {}", load_remedy));
    }
    return program;
}

}  // namespace orlop::datapath
