#!/bin/sh
# Install the real prediction servers that the tests marked `mlserver` and `kserve` talk to, each in a virtual environment
# of its own (about 450 MB each), with the scikit-learn of the environment that runs the tests.
#
#   tests/real_servers.sh FOLDER          # prints the two variables to set
#   MIA_JAX_MLSERVER_PYTHON=... MIA_JAX_KSERVE_PYTHON=... pytest tests/test_real_servers.py
set -eu
folder=${1:?usage: tests/real_servers.sh FOLDER}
python=${PYTHON:-python}
sklearn=scikit-learn==$("$python" -c 'import sklearn; print(sklearn.__version__)')
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

install() {  # name, packages...
    name=$1
    shift
    "$python" -m venv "$folder/$name"
    "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" "$sklearn"
}
install mlserver mlserver==1.7.1 mlserver-sklearn==1.7.1
install kserve kserve==0.21.0
echo "export MIA_JAX_MLSERVER_PYTHON=$folder/mlserver/bin/python"
echo "export MIA_JAX_KSERVE_PYTHON=$folder/kserve/bin/python"
