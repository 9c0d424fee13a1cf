# ReadmeExample: `cmake -DREADME=.. -DOUT=.. -P ReadmeExample.cmake` writes the README's first C++ block, which must be a
# whole program, to OUT: the test compiles what the reader sees.
file(READ ${README} text)
string(FIND "${text}" "```cpp\n" from)
if(from EQUAL -1)
  message(FATAL_ERROR "${README} has no C++ block")
endif()
math(EXPR from "${from} + 7")
string(SUBSTRING "${text}" ${from} -1 text)
string(FIND "${text}" "```" to)
string(SUBSTRING "${text}" 0 ${to} text)
file(WRITE ${OUT} "${text}")
