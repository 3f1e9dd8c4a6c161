# A vCenter that is a simulator: govmomi's, behind the front in scripts/services/vcsim.
# shellcheck shell=bash

vsphere_packages() {
    printf '%s\n' golang-go golang-github-vmware-govmomi-dev openssl
}

vsphere_up() {
    service vsphere
    vsphere_built
    # A vCenter has port 443 and no other: a bed tells its own from that of another bed by the address.
    [ "$(id -u)" = 0 ] || [ "$(sysctl -n net.ipv4.ip_unprivileged_port_start)" -le 443 ] ||
        die "the simulator of vCenter needs port 443: run this as root"
    local address
    address=$(cat "$S/address" 2>/dev/null || true)
    if ! alive vcsim && ! { [ -n "$address" ] && vsphere_is_free "$address"; }; then
        address=$(vsphere_address)
        echo "$address" >"$S/address"
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
            -addext "subjectAltName=IP:$address,DNS:localhost" -keyout "$S/key.pem" -out "$S/cert.pem" 2>"$S/made.log" ||
            { tail -5 "$S/made.log" >&2; die "no certificate could be made"; }
    fi
    TMPDIR=$S/run start vcsim "$VENVS/vcsim/vcsim" -address "$address" -cert "$S/cert.pem" -key "$S/key.pem" \
        -control "$S/control"
    ready vcsim curl --silent --noproxy '*' --cacert "$S/cert.pem" --output /dev/null "https://$address/about"
    cat >"$STATE/env.vsphere" <<END
export FANLIGHT_TEST_VSPHERE=$address
export FANLIGHT_TEST_VSPHERE_CA=$S/cert.pem
export FANLIGHT_TEST_VSPHERE_FOLDER=$S
export FANLIGHT_TEST_VSPHERE_PROGRAM=$VENVS/vcsim/vcsim
END
}

# Built once for all beds of this checkout, and again when the front has changed.
vsphere_built() {
    local folder=$VENVS/vcsim source=$SCRIPTS/services/vcsim made
    mkdir -p "$folder"
    {
        flock 9
        made=$(cat "$source"/*.go | sha256sum)
        [ -x "$folder/vcsim" ] && [ "$(cat "$folder/made" 2>/dev/null)" = "$made" ] || {
            echo "building the simulator of vCenter"
            (
                cd "$source"
                # Debian's packages are a GOPATH; there is no module to download.
                GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$folder/cache GOFLAGS=-trimpath CGO_ENABLED=0 \
                    go build -o "$folder/vcsim" .
            ) >"$folder/build.log" 2>&1 || { tail -20 "$folder/build.log" >&2; die "the simulator could not be built"; }
            echo "$made" >"$folder/made"
        }
    } 9>"$folder/lock"
}

vsphere_address() {
    local address
    for _ in $(seq 100); do
        address=127.$((RANDOM % 200 + 20)).$((RANDOM % 256)).$((RANDOM % 254 + 1))
        if vsphere_is_free $address; then
            echo $address
            return
        fi
    done
    die "no free address"
}

vsphere_is_free() {
    ! (exec 3<>"/dev/tcp/$1/443") 2>/dev/null
}

vsphere_down() {
    service vsphere
    stop vcsim
}
