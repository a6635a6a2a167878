//go:build interop

package js

import (
	"testing"

	"github.com/matrixon/matrixon/tests/peers"
)

// TestSynapseWithMatrixJSSDK: people of this server and of a real Synapse, with encryption; who is the first makes the room.
func TestSynapseWithMatrixJSSDK(t *testing.T) {
	install(t)
	for _, first := range []string{"ours", "theirs"} {
		t.Run("by "+first, func(t *testing.T) {
			a := peers.NewAuthority(t)
			ours := a.Start(1, "federation.retry_longest=1s")[0]
			theirs := a.Synapse(t)
			synapse := peer{kill: theirs.Stop, run: theirs.Run, log: theirs.Log} // what it loses when it is killed is not ours to test
			if first == "ours" {
				run(t, pair{peerOf(ours), synapse}, "federated.mjs", ours.URL, theirs.URL, ours.Name, theirs.Name)
			} else {
				run(t, pair{synapse, peerOf(ours)}, "federated.mjs", theirs.URL, ours.URL, theirs.Name, ours.Name)
			}
		})
	}
}
