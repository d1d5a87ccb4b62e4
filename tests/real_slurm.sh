#!/bin/sh
# A real SLURM with two nodes on this machine, for the tests marked `slurm`. As root, on Debian or Ubuntu:
#
#   apt-get install slurm-wlm munge
#   tests/real_slurm.sh FOLDER start      # prints the variables to set
#   SLURM_CONF=FOLDER/slurm.conf pytest -m slurm tests/scripts/test_real_slurm.py
#   tests/real_slurm.sh FOLDER stop
#
# `kill n1` ends the daemon of a node and what runs on it, as if its plug had been pulled; `node n1` starts it again.
set -eu
usage='usage: tests/real_slurm.sh FOLDER start|stop|kill NODE|node NODE'
folder=${1:?$usage}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
host=$(hostname -s)
export SLURM_CONF="$folder/slurm.conf"

configure() {
    mkdir -p "$folder/state" "$folder/log" "$folder/spool/n1" "$folder/spool/n2"
    cat >"$SLURM_CONF" <<EOF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/log/ctld
SlurmdLogFile=$folder/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=5
JobRequeue=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmctldPort=16817
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
EOF
}

start_munge() {
    munge -n >/dev/null 2>&1 && return
    for path in /run/munge /var/log/munge /var/lib/munge /etc/munge; do
        mkdir -p "$path"
        chown -R munge: "$path"
    done
    su munge -s /bin/sh -c /usr/sbin/munged
}

descendants() {  # of a process, and itself
    for child in $(pgrep -P "$1" || true); do descendants "$child"; done
    echo "$1"
}

end() {  # the process that a file names, with all that it has started
    [ -s "$1" ] || return 0
    for pid in $(descendants "$(cat "$1")"); do kill -9 "$pid" 2>/dev/null || true; done
    rm -f "$1"
}

kill_node() {  # its steps are children of nobody; they write to its log
    end "$folder/$1.pid"
    for step in $(pgrep -f "slurmstepd: " || true); do
        ls -l "/proc/$step/fd" 2>/dev/null | grep -q "$folder/log/$1\$" || continue
        for pid in $(descendants "$step"); do kill -9 "$pid" 2>/dev/null || true; done
    done
}

case ${2:?$usage} in
    start)
        configure
        start_munge
        slurmctld -f "$SLURM_CONF"
        slurmd -f "$SLURM_CONF" -N n1
        slurmd -f "$SLURM_CONF" -N n2
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [ "$(sinfo -h -o %T -N | grep -c idle)" = 2 ] && break
            sleep 1
        done
        echo "export SLURM_CONF=$SLURM_CONF"
        ;;
    kill) kill_node "${3:?$usage}" ;;
    node) slurmd -f "$SLURM_CONF" -N "${3:?$usage}" ;;
    stop)
        kill_node n1
        kill_node n2
        end "$folder/slurmctld.pid"
        ;;
    *) echo "$usage" >&2; exit 2 ;;
esac
