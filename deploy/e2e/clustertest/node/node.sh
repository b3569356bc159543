# The first process of a node: it mounts what a machine has, starts Kubernetes'
# programs, starts each again that ends, and collects orphans. It has mount, network,
# process, control group, host name and IPC namespaces of its own, so that all of the
# node ends with it. Its environment is launch.sh's.
set -u
hostname "$NODE"
mount --make-rprivate /
mount -t proc proc /proc
# The old /sys goes first, or /proc/mounts lists the machine's control groups before
# the node's own. No hierarchy may be mounted read-only: the machine's would be too.
groups=$(find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d ! -name unified -printf '%f\n')
umount -R -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for group in $groups; do
  mkdir "/sys/fs/cgroup/$group"
  options=$group
  [ "$group" = systemd ] && options=none,name=systemd
  mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$group"
done
mount --bind "$STATE/lib" /var/lib
mount --bind "$STATE/log" /var/log
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/netns /run/node /var/lib/kubelet /var/lib/volumes
mount --make-rshared /
# What kubelet sets in the kernel no namespace keeps apart from the machine. It sees
# files that have the values it wants.
mkdir /run/sys
while read -r setting value; do
  file=/run/sys/${setting//\//_}
  echo "$value" >"$file"
  mount --bind "$file" "/proc/sys/$setting"
done <<X
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
X
while [ ! -f "$STATE/go" ]; do sleep 0.05; done
ip link set lo up
ip address add "$ADDRESS/30" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Answers between two pods pass the rules of services too. Some kernels have no such switch.
echo 1 2>/dev/null >/proc/sys/net/bridge/bridge-nf-call-iptables
umask 022

start() {
  local name=$1
  shift
  (
    while :; do
      "$@" >>"/var/log/$name.log" 2>&1 </dev/null &
      echo $! >"/run/node/$name.pid"
      wait $!
      printf '%(%T)T %s ended with %d\n' -1 "$name" $? >>/var/log/restarts.log
      sleep 1
    done
  ) &
}

keys=$STATE/keys
configuration=$STATE/etc
component() { # the flags of a component that asks the API server who its callers are
  echo "--kubeconfig=$keys/$1.kubeconfig --authentication-kubeconfig=$keys/$1.kubeconfig --authorization-kubeconfig=$keys/$1.kubeconfig --bind-address=127.0.0.1 --leader-elect=false"
}
start etcd kubenode etcd --data-dir=/var/lib/etcd --socket=/run/etcd.sock
start containerd containerd --config "$configuration/containerd.toml"
start kube-apiserver kubenode kube-apiserver \
  --etcd-servers=unix:///run/etcd.sock --endpoint-reconciler-type=lease \
  --bind-address=0.0.0.0 --advertise-address="$ADDRESS" --secure-port=6443 \
  --tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" --client-ca-file="$keys/ca.crt" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --service-cluster-ip-range=10.96.0.0/16 --service-node-port-range=30000-32767 \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$keys/serviceaccounts.pub" --service-account-signing-key-file="$keys/serviceaccounts.key" \
  --kubelet-client-certificate="$keys/kubelet-client.crt" --kubelet-client-key="$keys/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP
(
  # The controller manager ends at once where the API server does not answer yet.
  until kubenode kubectl --kubeconfig "$keys/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.3; done
  # shellcheck disable=SC2046 # the flags are words
  start kube-controller-manager kubenode kube-controller-manager $(component controllers) \
    --flex-volume-plugin-dir=/var/lib/kubelet/volumeplugins --use-service-account-credentials=true \
    --root-ca-file="$keys/ca.crt" --service-account-private-key-file="$keys/serviceaccounts.key" \
    --cluster-signing-cert-file="$keys/ca.crt" --cluster-signing-key-file="$keys/ca.key"
  start kube-scheduler kubenode kube-scheduler $(component scheduler)
  wait
) &
start kubelet kubenode kubelet --config="$configuration/kubelet.yaml" --kubeconfig="$keys/kubelet.kubeconfig" \
  --hostname-override="$NODE" --node-ip="$ADDRESS" --v=2
start kube-proxy kubenode kube-proxy --config="$configuration/proxy.yaml"
start coredns coredns -conf "$configuration/Corefile"
start provisioner kubenode provisioner --kubeconfig="$keys/admin.kubeconfig" --root=/var/lib/volumes --node="$NODE"
while :; do
  wait
  sleep 1
done
