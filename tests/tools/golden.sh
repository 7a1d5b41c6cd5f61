# Says aloud whether the golden data beside the clone takes part; without it only tests/data and the bundled model are checked.
set -eu
if [ -z "${HEARTH_SHARED-}" ]; then
    echo "SKIPPED: no HEARTH_SHARED and no ../shared: the tests on golden data outside the clone do not run"
    exit 77
fi
for folder in ref vocab models; do
    [ -d "$HEARTH_SHARED/$folder" ] || {
        echo "FAILED: $HEARTH_SHARED has no folder $folder"
        exit 1
    }
done
echo "golden data: $HEARTH_SHARED"
