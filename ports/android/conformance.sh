#!/usr/bin/env bash
# Compiles the Kotlin core with its desktop runner and replays the conformance vectors on a JVM:
#   ./conformance.sh [BUNDLE [VECTORS [REPORT.json]]]       by default the bundle that ships, and its vectors
#   ./conformance.sh diagnose BUNDLE PICTURE...             needs the networks, see below
# Compiler: $KOTLINC, `npm ci` in this folder, or kotlinc on the PATH. Java: $JAVA_HOME, or java on the PATH; 17 or later.
# With a Java of version 22 or later and EDGE_INFER_ONNXRUNTIME=/path/to/libonnxruntime.so (the Python package onnxruntime
# holds one) the bundle's networks run too; without, the vectors that need them are left out.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

fail() {
  echo "$1" >&2
  exit 3
}

kotlinc="${KOTLINC:-$here/node_modules/kotlin-compiler/bin/kotlinc}"
[ -x "$kotlinc" ] || kotlinc="$(command -v kotlinc)" || fail "no Kotlin compiler: run 'npm ci' in $here"
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
command -v "$java" > /dev/null || fail "no Java: install a JDK of version 17 or later, or set JAVA_HOME"
facts="$("$java" -XshowSettings:properties -version 2>&1)"
JAVA_HOME="$(sed -n 's/^ *java.home = //p' <<< "$facts")"
export JAVA_HOME
release="$(sed -n 's/^ *java.specification.version = //p' <<< "$facts")"
[ "${release%%.*}" -ge 17 ] || fail "Java $release is too old: 17 or later is needed"

parts=("$here/core/src/main/kotlin" "$here/desktop/src/main/kotlin")
main=io.github.edgeinfer.desktop.MainKt
first=()
if [ -n "${EDGE_INFER_ONNXRUNTIME:-}" ]; then
  [ "$release" -ge 22 ] || fail "the networks need Java 22 or later, this is $release"
  parts+=("$here/desktop/src/onnx/kotlin")
  main=io.github.edgeinfer.desktop.onnx.OnnxMainKt
  first=("$EDGE_INFER_ONNXRUNTIME" conformance)
fi

mapfile -t sources < <(find "${parts[@]}" -name '*.kt' | sort)
key="$({ echo "$release"; cat "${sources[@]}"; } | sha256sum | cut -c1-16)"
classes="$here/build/jvm/$key"
if [ ! -e "$classes/done" ]; then
  rm -rf "$classes.new" && mkdir -p "$classes.new"
  "$kotlinc" -no-reflect -Werror -d "$classes.new" "${sources[@]}" >&2 || exit 4
  touch "$classes.new/done"
  rm -rf "$classes" && mv "$classes.new" "$classes"
fi
stdlib="$(dirname "$(readlink -f "$kotlinc")")/../lib/kotlin-stdlib.jar"
run=("$java" -cp "$classes:$stdlib")
[ -z "${EDGE_INFER_ONNXRUNTIME:-}" ] || run+=(--enable-native-access=ALL-UNNAMED)

if [ "${1:-}" = diagnose ]; then
  [ -n "${EDGE_INFER_ONNXRUNTIME:-}" ] || fail "diagnosing needs EDGE_INFER_ONNXRUNTIME"
  shift
  exec "${run[@]}" "$main" "$EDGE_INFER_ONNXRUNTIME" diagnose "$@"
fi
exported="$here/../../exported"
exec "${run[@]}" "$main" "${first[@]}" "${1:-$exported/mobile}" "${2:-$exported/conformance}" "${@:3}"
