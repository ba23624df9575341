#!/usr/bin/env bash
# The root directory of the image: the binary, the libraries that it needs, CA certificates and nothing to log in to.
#
#   deploy/rootfs.sh BINARY DIRECTORY     says how large it is; 32 MiB at most
#
# As the official image of Prometheus it has /bin/prometheus and /bin/promtool, /etc/prometheus/prometheus.yml, the data in
# /prometheus and the user nobody, 65534.
set -eu
binary=${1:?usage: rootfs.sh BINARY DIRECTORY}
root=${2:?usage: rootfs.sh BINARY DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$root"/{bin,etc/prometheus,etc/ssl/certs,prometheus,tmp}
strip -o "$root/bin/narthex" "$binary"
chmod 755 "$root/bin/narthex"
for name in prometheus promtool; do
    ln -sf narthex "$root/bin/$name"
done

# Each library at the path where the loader looks for it, the loader itself included.
ldd "$binary" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
sed "/^#/d; s/@PORT@/9090/" "$here/run/prometheus.yml" >"$root/etc/prometheus/prometheus.yml"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >"$root/etc/passwd"
echo 'nobody:x:65534:' >"$root/etc/group"
chmod 1777 "$root/tmp"
if [ "$(id -u)" -eq 0 ]; then
    chown 65534:65534 "$root/prometheus"
fi
echo "image: $(du -sk --apparent-size "$root" | cut -f1) KiB"
