# Toolchain: the language, what the compiler refuses, hardening, sanitizers, ccache.
#
#   ROMANCY_SANITIZE   AddressSanitizer and UndefinedBehaviorSanitizer (./dev test --sanitize)
#   ROMANCY_TSAN       ThreadSanitizer, for what has threads (./dev test --tsan)
#   ROMANCY_TEST_POINTS  places where a test may kill this process (common/base/test_point.hpp); never in a package
#   ROMANCY_FUZZ       libFuzzer's instrumentation, and the sanitizers, for tests/fuzz (clang; ./dev test --fuzz)
#   ROMANCY_HARDEN     the flags of a shipped program; on, except where a sanitizer does the same job better
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# All programs side by side, as they are installed: the supervisor looks for the others beside itself.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

option(ROMANCY_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(ROMANCY_FUZZ "Build the fuzz targets (clang)" OFF)
option(ROMANCY_TSAN "Build with ThreadSanitizer" OFF)
option(ROMANCY_TEST_POINTS "Compile in the points where a test may kill, stop or fail a process" OFF)
option(ROMANCY_HARDEN "Build with the hardening flags of a shipped program" ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

include_directories(${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/generated)
add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror)
add_compile_definitions(_GLIBCXX_ASSERTIONS)
configure_file(${PROJECT_SOURCE_DIR}/common/base/test_points.hpp.in ${PROJECT_BINARY_DIR}/generated/test_points.hpp)

if(ROMANCY_SANITIZE)
  # g++ 12 sees uninitialized members in its own std::regex and std::function once the sanitizers are on.
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  # Until 15, clang cannot compile a coroutine template with this one: https://github.com/llvm/llvm-project/issues/49689
  add_compile_options($<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
  add_link_options(-fsanitize=address,undefined)
elseif(ROMANCY_FUZZ)
  # What clang warns of beyond g++ is not what this lane is about.
  add_compile_options(-Wno-error -w -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(ROMANCY_TSAN)
  # -Wno-tsan: it does not see fences. The board's, between processes, are not what this lane runs.
  add_compile_options(-Wno-maybe-uninitialized -Wno-tsan -fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(ROMANCY_HARDEN)
  # FORTIFY needs an optimiser, so a Debug build goes without it. -fhardened would say all this, from GCC 14 on.
  add_compile_options(
    "$<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>"
    -fstack-protector-strong
    -fstack-clash-protection
    $<$<CXX_COMPILER_ID:GNU>:-ftrivial-auto-var-init=zero>  # clang has it behind a second option until 16
    -Wformat -Wformat-security)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
    add_compile_options(-fcf-protection=full)
  endif()
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()
