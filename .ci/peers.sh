#!/usr/bin/env bash
# Unpacks the real programs that the tests talk to under build/peers/<package>, and the libraries they need and the
# machine lacks under build/peers/lib. Nothing is installed: these packages would start services on our ports.
#
#   .ci/peers.sh          what `make test` needs
#   .ci/peers.sh --all    also prometheus-alertmanager
#
# A package is unpacked beside its place and renamed into it, so a broken download leaves nothing half done. The file
# .unpacked inside says that it is complete.
set -eu
cd "$(dirname "$0")/.."

packages=(prometheus prometheus-redis-exporter prometheus-node-exporter prometheus-blackbox-exporter
    prometheus-process-exporter redis-tools redis-server victoria-metrics)
libraries=(libjemalloc.so.2=libjemalloc2 liblzf.so.1=liblzf1 libatomic.so.1=libatomic1 libsystemd.so.0=libsystemd0
    libzstd.so.1=libzstd1)
case "${1-}" in
"") ;;
--all)
    packages+=(prometheus-alertmanager)
    ;;
*)
    echo "usage: .ci/peers.sh [--all]" >&2
    exit 2
    ;;
esac

peers=$PWD/build/peers
mkdir -p "$peers/lib"
exec 9>"$peers/.lock"
flock 9

scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

# download <package>: leaves the one .deb in the current directory.
download() {
    apt-get -q -o APT::Sandbox::User=root download "$1" 9>&- && return
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -q update 9>&-
    elif command -v sudo >/dev/null; then
        sudo apt-get -q update 9>&-
    fi
    apt-get -q -o APT::Sandbox::User=root download "$1" 9>&-
}

# unpack <package> <directory>
unpack() {
    echo "peers.sh: fetching $1"
    scratch=$(mktemp -d "$peers/.unpack.XXXXXX")
    chmod 755 "$scratch"
    (cd "$scratch" && download "$1")
    mkdir "$scratch/root"
    dpkg -x "$scratch"/*.deb "$scratch/root"
    touch "$scratch/root/.unpacked"
    rm -rf "$2"
    mv "$scratch/root" "$2"
    rm -rf "$scratch"
    scratch=
}

for package in "${packages[@]}"; do
    [ -e "$peers/$package/.unpacked" ] || unpack "$package" "$peers/$package"
done

known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
for pair in "${libraries[@]}"; do
    soname=${pair%%=*}
    package=${pair#*=}
    case $known in *"$soname "*) continue ;; esac
    [ ! -e "$peers/lib/$soname" ] || continue
    unpack "$package" "$peers/.library"
    find "$peers/.library" -name '*.so*' ! -name "$soname" -exec cp -d {} "$peers/lib/" \;
    find "$peers/.library" -name "$soname" -exec cp -d {} "$peers/lib/" \;
    rm -rf "$peers/.library"
done

# redis-server is a link into redis-tools, which are two trees here: one file under both names.
if [ ! -x "$peers/redis-server/usr/bin/redis-server" ]; then
    ln -sfn ../../../redis-tools/usr/bin/redis-check-rdb "$peers/redis-server/usr/bin/redis-server"
fi
