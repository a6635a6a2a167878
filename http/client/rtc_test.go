package client_test

import (
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestTransportsOfCalls(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	for _, path := range []string{"/_matrix/client/v1/rtc/transports", "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"} {
		alice.Get(path).OK().Has("rtc_transports", `[{"livekit_service_url":"https://rtc.example.org","type":"livekit"}]`)
		w.Nobody().Get(path).Refused(401, "M_MISSING_TOKEN")
	}
}
