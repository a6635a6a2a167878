package client_test

import (
	"testing"

	"github.com/matrixon/matrixon/persistence/schema"
)

func TestModeration(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, boss := s.register("alice"), s.register("boss")
	row, _, err := schema.Accounts.Get(t.Context(), s.store, schema.Account{UserID: boss.id})
	if err != nil {
		t.Fatal(err)
	}
	row.Admin = true
	s.write(schema.Accounts.Put(row))
	s.tokens.Forget(boss.id)
	const v1 = "/_matrix/client/v1/admin/"
	s.do("PUT", v1+"lock/"+boss.id, alice.token, m{"locked": true}).refused(403, "M_FORBIDDEN")
	s.do("GET", v1+"lock/@nobody:example.org", alice.token, nil).refused(403, "M_FORBIDDEN")
	s.do("PUT", v1+"lock/"+boss.id, boss.token, m{"locked": true}).refused(403, "M_FORBIDDEN")
	s.do("PUT", v1+"lock/@x:elsewhere.org", boss.token, m{"locked": true}).refused(400, "M_INVALID_PARAM")
	s.do("PUT", v1+"lock/@nobody:example.org", boss.token, m{"locked": true}).refused(404, "M_NOT_FOUND")
	s.do("PUT", v1+"lock/"+alice.id, boss.token, m{}).refused(400, "M_MISSING_PARAM")
	s.whoami(alice.token).ok()
	if got := s.do("PUT", v1+"lock/"+alice.id, boss.token, m{"locked": true}).ok(); got.raw != `{"locked":true}` {
		t.Errorf("%s", got.raw)
	}
	s.whoami(alice.token).refused(401, "M_USER_LOCKED")
	if got := s.do("GET", v1+"lock/"+alice.id, boss.token, nil).ok(); got.raw != `{"locked":true}` {
		t.Errorf("%s", got.raw)
	}
	s.do("PUT", v1+"lock/"+alice.id, boss.token, m{"locked": false}).ok()
	s.do("PUT", v1+"suspend/"+alice.id, boss.token, m{"suspended": true}).ok()
	s.v3("PUT", "/profile/"+alice.id+"/displayname", alice.token, m{"displayname": "x"}).refused(403, "M_USER_SUSPENDED")
	if got := s.do("GET", v1+"suspend/"+alice.id, boss.token, nil).ok(); got.raw != `{"suspended":true}` {
		t.Errorf("%s", got.raw)
	}
	if got := s.v3("GET", "/admin/whois/"+alice.id, alice.token, nil).ok(); got.body["devices"].(m)[alice.device] == nil {
		t.Errorf("%s", got.raw)
	}
	s.v3("GET", "/admin/whois/"+alice.id, boss.token, nil).ok()
	s.v3("GET", "/admin/whois/"+boss.id, alice.token, nil).refused(403, "M_FORBIDDEN")
}
