# Each bpf/*.bpf.c becomes an object for the BPF target and a libbpf skeleton header that
# daemon/datapath includes as "bpf/<name>.skel.h".

find_program(BPF_CLANG NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
set(BPF_OUT ${CMAKE_BINARY_DIR}/generated/bpf)
file(MAKE_DIRECTORY ${BPF_OUT})
file(GLOB BPF_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c)
file(GLOB BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h ${CMAKE_SOURCE_DIR}/bpf/lib/*.h)
set(BPF_SKELETONS)
foreach(SOURCE ${BPF_SOURCES})
    get_filename_component(NAME ${SOURCE} NAME)
    string(REPLACE ".bpf.c" "" NAME ${NAME})
    set(OBJECT ${BPF_OUT}/${NAME}.bpf.o)
    set(SKELETON ${BPF_OUT}/${NAME}.skel.h)
    add_custom_command(OUTPUT ${OBJECT}
        COMMAND ${BPF_CLANG} -g -O2 -std=gnu11 -Wall -Werror -target bpf -mcpu=v3
            -D__TARGET_ARCH_x86 -I${CMAKE_SOURCE_DIR} -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -c ${SOURCE} -o ${OBJECT}
        DEPENDS ${SOURCE} ${BPF_HEADERS} VERBATIM)
    add_custom_command(OUTPUT ${SKELETON}
        COMMAND sh -c "${BPFTOOL} gen skeleton ${OBJECT} name ${NAME}_bpf > ${SKELETON}"
        DEPENDS ${OBJECT} VERBATIM)
    list(APPEND BPF_SKELETONS ${SKELETON})
endforeach()
add_custom_target(orlop_bpf_skeletons DEPENDS ${BPF_SKELETONS})
add_library(orlop_bpf INTERFACE)
add_dependencies(orlop_bpf orlop_bpf_skeletons)
target_include_directories(orlop_bpf INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
