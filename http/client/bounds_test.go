package client_test

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// What a user keeps has bounds, and what is there already can be changed at the bound.
func TestWhatOneUserKeeps(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	const most = 1000
	data := func(n int) string { return fmt.Sprintf("/user/%s/account_data/org.example.%d", alice.ID, n) }
	for n := range most {
		alice.Put(data(n), J{"n": n}).OK()
	}
	alice.Put(data(most), J{"n": most}).Refused(413, "M_TOO_LARGE")
	alice.Put(data(1), J{"changed": true}).OK()
	alice.Get(data(most)).Refused(404, "M_NOT_FOUND")

	filter := func(n int) J { return J{"event_fields": []string{fmt.Sprint("content.", n)}} }
	for n := range most {
		alice.Post("/user/"+alice.ID+"/filter", filter(n)).OK()
	}
	alice.Post("/user/"+alice.ID+"/filter", filter(most)).Refused(413, "M_TOO_LARGE")
	alice.Post("/user/"+alice.ID+"/filter", filter(0)).OK()
}
