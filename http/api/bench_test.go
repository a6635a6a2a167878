package api_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/api"
)

// BenchmarkFrame measures what the frame costs around a handler that does nothing, with as many endpoints as the
// client-server API has.
func BenchmarkFrame(b *testing.B) {
	a := api.New(api.Options{Log: quiet(), Auth: sessions{"t": {UserID: "@a:x", DeviceID: "D"}}})
	handler := func(r *api.Request) (any, error) {
		_, err := r.Object()
		return map[string]string{"event_id": "$x"}, err
	}
	for i := range 20 {
		name := strconv.Itoa(i)
		a.Add(api.Client,
			api.Endpoint{Methods: []string{"PUT"}, Path: "/_matrix/client/v3/rooms/{roomId}/x" + name + "/{eventType}/{txnId}", R0: true, Auth: api.User, Handler: handler},
			api.Endpoint{Methods: []string{"GET"}, Path: "/_matrix/client/v3/rooms/{roomId}/x" + name, R0: true, Auth: api.User, Handler: handler},
			api.Endpoint{Methods: []string{"GET"}, Path: "/_matrix/client/v3/x" + name + "/{id}", R0: true, Auth: api.User, Handler: handler},
		)
	}
	a.Add(api.Client, api.Endpoint{Methods: []string{"PUT"}, Path: "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", Auth: api.User, Handler: handler})
	h := a.Handler(api.Client)
	const body = `{"msgtype":"m.text","body":"hello, how are you today?"}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPut, "/_matrix/client/v3/rooms/!abcdefghijklmnop:example.org/send/m.room.message/m1234.5", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer t")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
