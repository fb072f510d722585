#!/usr/bin/env bash
# Installs the SOCKS and Kafka clients and the servers that tests compare with, on Debian and as
# root. Ends with 0 if all of them are there. Without them those tests are skipped.
set -euo pipefail

packages=(curl netcat-openbsd proxychains4 python3-socks openssh-client openssh-server chromium microsocks dante-server kcat)

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "clients.sh: needs apt-get and root; tests with clients that are missing are skipped" >&2
  exit 1
fi
if dpkg-query -W -f '${Status}\n' "${packages[@]}" 2>/dev/null | grep -vqx 'install ok installed' ||
  ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  timeout 60 apt-get update -qq
  timeout 240 apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
