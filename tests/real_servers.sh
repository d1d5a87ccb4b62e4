#!/bin/sh
# Install the real prediction servers that the tests marked `mlserver` and `kserve` talk to, each in a virtual environment
# of its own (about 450 MB each), with the scikit-learn of the environment that runs the tests. With uv where it is
# installed (a minute), with venv and pip where it is not.
#
#   tests/real_servers.sh FOLDER [mlserver] [kserve]      # prints the variables to set
#   MIA_JAX_MLSERVER_PYTHON=... MIA_JAX_KSERVE_PYTHON=... pytest tests/test_real_servers.py
set -eu
folder=${1:?usage: tests/real_servers.sh FOLDER [mlserver] [kserve]}
shift
python=${PYTHON:-python}
sklearn=scikit-learn==$("$python" -c 'from importlib.metadata import version; print(version("scikit-learn"))' 2>/dev/null) || {
    echo "$python has no scikit-learn: set PYTHON to the python that runs the tests" >&2
    exit 2
}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

install() {  # name, packages...
    name=$1
    shift
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "$python" "$folder/$name"
        uv pip install --quiet --python "$folder/$name/bin/python" "$@" "$sklearn"
    else
        "$python" -m venv --clear "$folder/$name"
        "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" "$sklearn"
    fi
}

for server in ${@:-mlserver kserve}; do
    case $server in
        mlserver) install mlserver mlserver==1.7.1 mlserver-sklearn==1.7.1 ;;
        kserve) install kserve kserve==0.21.0 ;;
        *) echo "no server is called $server: choose mlserver or kserve" >&2; exit 2 ;;
    esac
    echo "export MIA_JAX_$(echo "$server" | tr a-z A-Z)_PYTHON=$folder/$server/bin/python"
done
