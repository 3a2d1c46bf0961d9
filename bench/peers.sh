#!/bin/sh
# Puts Debian's redis-server, nats-server and nginx with Nchan where the generator finds them: target/peers. `run` calls
# this with the names of those it needs: redis, nats, nchan.
set -eu
bench=$(cd "$(dirname "$0")" && pwd)
peers=$bench/target/peers
mkdir -p "$peers"

# NATS syncs each publish, if it shall, since this version.
NATS_MIN=2.10
# The release to take it from where the installed one has an older version; it needs nothing but the C library.
NEWER=trixie

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

new_enough() {
  [ "$(printf '%s\n' "$NATS_MIN" "$1" | sort -V | head -n 1)" = "$NATS_MIN" ]
}

redis() {
  if ! command -v redis-server >/dev/null; then
    echo "installing redis-server" >&2
    as_root apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >&2
    # Debian starts what it installs; here it would disturb.
    if [ -d /run/systemd/system ]; then as_root systemctl disable --now redis-server >&2; fi
  fi
  ln -sf "$(command -v redis-server)" "$peers/redis-server"
}

# Unpacked and not installed, for Debian would start nginx on port 80.
nchan() {
  if [ ! -e "$peers/nchan/version" ]; then
    echo "unpacking nginx and nchan" >&2
    if [ -z "$(apt-cache policy libnginx-mod-nchan)" ]; then as_root apt-get update -qq >&2; fi
    rm -rf "$peers/nchan"
    mkdir "$peers/nchan"
    (
      cd "$peers/nchan"
      apt-get download -qq -o APT::Sandbox::User=root nginx libnginx-mod-nchan >&2
      for package in *.deb; do dpkg -x "$package" .; done
      if ldd usr/sbin/nginx | grep "not found"; then
        echo "nginx lacks these libraries: install them" >&2
        exit 1
      fi
      dpkg-deb --field libnginx-mod-nchan_*.deb Version >version
      rm ./*.deb
    )
  fi
  # The one folder of nginx's that this version of Nchan takes from no configuration.
  if [ ! -d /var/lib/nginx/body ]; then
    as_root install -d -o "$(id -u)" /var/lib/nginx /var/lib/nginx/body
  fi
}

nats() {
  if [ -x "$peers/nats-server" ]; then return; fi
  if command -v nats-server >/dev/null && new_enough "$(nats-server --version | sed 's/.*v//')"; then
    ln -sf "$(command -v nats-server)" "$peers/nats-server"
    return
  fi

  echo "unpacking nats-server" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  # A package list of its own, so that this release's packages stay as they are.
  mkdir -p lists/partial cache/archives/partial
  . /etc/os-release
  mirror=$(apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Codename: $VERSION_CODENAME" | head -n 1)
  release=$NEWER
  case $(apt-cache policy nats-server) in
    *"Candidate: "[0-9]*)
      candidate=$(apt-cache policy nats-server | sed -n 's/ *Candidate: //p')
      if new_enough "$candidate"; then release=$VERSION_CODENAME; fi ;;
  esac
  cat >list.sources <<END
Types: deb
URIs: ${mirror:?no Debian mirror is set up}
Suites: $release
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
  apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$work/list.sources" -o Dir::Etc::sourceparts=/dev/null \
      -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@" >&2
  }
  apt update
  apt download nats-server
  dpkg -x nats-server_*.deb unpacked
  cp unpacked/usr/*bin/nats-server "$peers/nats-server"
}

for peer in "$@"; do "$peer"; done
