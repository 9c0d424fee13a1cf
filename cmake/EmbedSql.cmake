# SQL lives in .sql files; this makes C++ of it, at build time, again whenever a file changes or appears.
#
#   romancy_embed_sql(<target>)   adds the headers to the INTERFACE library <target>:
#     "sql/<process>.hpp"  of sql/queries/<process>/*.sql: namespace romancy::sql::<process>, one pg::Statement a file
#     "sql/schema.hpp"     of sql/migrations, sql/engine and sql/api: the texts `romancy migrate` applies
#
# The same file is the generator: `cmake -DMODE=.. -DOUT=.. -DFILES=.. -P EmbedSql.cmake`.

set(ROMANCY_EMBED_SQL_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(romancy_embed_sql target)
  set(sql ${CMAKE_SOURCE_DIR}/sql)
  set(include ${CMAKE_BINARY_DIR}/generated)
  set(headers)
  file(GLOB processes CONFIGURE_DEPENDS LIST_DIRECTORIES true ${sql}/queries/*)
  foreach(dir IN LISTS processes)
    get_filename_component(process ${dir} NAME)
    file(GLOB statements CONFIGURE_DEPENDS ${dir}/*.sql)
    set(out ${include}/sql/${process}.hpp)
    # The files' names stand in the command so that it runs again when one goes away, too.
    string(REPLACE ";" "," names "${statements}")
    add_custom_command(OUTPUT ${out}
      COMMAND ${CMAKE_COMMAND} -DMODE=queries -DOUT=${out} -DPROCESS=${process} -DFILES=${names}
              -P ${ROMANCY_EMBED_SQL_SCRIPT}
      DEPENDS ${statements} ${ROMANCY_EMBED_SQL_SCRIPT}
      COMMENT "Embedding sql/queries/${process}" VERBATIM)
    list(APPEND headers ${out})
  endforeach()

  file(GLOB texts CONFIGURE_DEPENDS ${sql}/migrations/*.sql ${sql}/engine/*.sql ${sql}/api/*.sql)
  set(out ${include}/sql/schema.hpp)
  string(REPLACE ";" "," names "${texts}")
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DMODE=schema -DOUT=${out} -DFILES=${names} -P ${ROMANCY_EMBED_SQL_SCRIPT}
    DEPENDS ${texts} ${ROMANCY_EMBED_SQL_SCRIPT}
    COMMENT "Embedding the schema's texts" VERBATIM)
  list(APPEND headers ${out})

  add_custom_target(${target}_headers DEPENDS ${headers})
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_headers)
  target_include_directories(${target} INTERFACE ${include})
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE)
  return()
endif()

# From here on: the generator.
string(REPLACE "," ";" FILES "${FILES}")
list(SORT FILES)

function(read_text path out)
  file(READ ${path} text)
  if(text MATCHES "\\)sql\"")
    message(FATAL_ERROR "${path}: must not contain )sql\"")
  endif()
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# The files of one folder, in name order, as entries of one constexpr array.
function(append_texts array folder)
  set(files ${FILES})
  list(FILTER files INCLUDE REGEX "/${folder}/[^/]*$")
  string(APPEND header "inline constexpr Text ${array}[] = {\n")
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    read_text(${file} text)
    string(APPEND header "    {\"${folder}/${name}\", R\"sql(${text})sql\"},\n")
  endforeach()
  string(APPEND header "};\n\n")
  set(header "${header}" PARENT_SCOPE)
endfunction()

set(header "// Generated from .sql files by cmake/EmbedSql.cmake. Do not edit.\n#pragma once\n")
if(MODE STREQUAL "queries")
  string(APPEND header "#include \"common/pg/statement.hpp\"\n\nnamespace romancy::sql::${PROCESS} {\n\n")
  foreach(file IN LISTS FILES)
    get_filename_component(name ${file} NAME_WE)
    read_text(${file} text)
    # Comments are for the reader of the file; the server's view of a running statement should begin with the verb.
    string(REGEX REPLACE "\n *--[^\n]*" "" text "\n${text}")
    string(STRIP "${text}" text)
    string(REGEX REPLACE ";$" "" text "${text}")
    string(APPEND header
      "inline constexpr pg::Statement ${name}{\"${PROCESS}.${name}\", R\"sql(${text})sql\"};\n\n")
  endforeach()
  string(APPEND header "}  // namespace romancy::sql::${PROCESS}\n")
else()
  string(APPEND header "\nnamespace romancy::sql::schema {\n\n"
    "struct Text {\n  const char* name;  // \"migrations/0001_tables\"\n  const char* text;\n};\n\n")
  append_texts(kMigrations migrations)
  append_texts(kEngine engine)
  append_texts(kApi api)
  string(APPEND header "}  // namespace romancy::sql::schema\n")
endif()
file(WRITE ${OUT} "${header}")
