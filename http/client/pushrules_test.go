package client_test

import (
	"strings"
	"testing"
)

func TestPushRules(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	stored := func() string { return s.v3("GET", "/user/"+p.id+"/account_data/m.push_rules", p.token, nil).ok().raw }
	all := s.v3("GET", "/pushrules/", p.token, nil).ok()
	if !strings.Contains(all.raw, ".m.rule.master") || all.raw != stored() {
		t.Errorf("%s\n%s", all.raw, stored())
	}
	if got := s.v3("GET", "/pushrules", p.token, nil).ok(); got.raw != all.raw {
		t.Errorf("%s", got.raw)
	}
	if got := s.v3("GET", "/pushrules/global/", p.token, nil).ok(); `{"global":`+got.raw+`}` != all.raw {
		t.Errorf("%s", got.raw)
	}
	s.v3("PUT", "/pushrules/global/content/cake", p.token, m{"pattern": "cake*lie", "actions": []any{"notify"}}).ok()
	s.v3("PUT", "/pushrules/global/content/pie?after=cake", p.token, m{"pattern": "pie", "actions": []any{}}).ok()
	s.v3("PUT", "/pushrules/global/room/!a%25b:x", p.token, m{"actions": []any{}}).ok()
	if !strings.Contains(stored(), "!a%b:x") {
		t.Errorf("/sync would not give the new rules: %s", stored())
	}
	got := s.v3("GET", "/pushrules/global/content/cake", p.token, nil).ok()
	if got.raw != `{"rule_id":"cake","default":false,"enabled":true,"actions":["notify"],"pattern":"cake*lie"}` {
		t.Errorf("%s", got.raw)
	}
	if raw := stored(); strings.Index(raw, `"cake"`) > strings.Index(raw, `"pie"`) {
		t.Errorf("pie is before cake: %s", raw)
	}
	s.v3("PUT", "/pushrules/global/content/cake/enabled", p.token, m{"enabled": false}).ok()
	if got := s.v3("GET", "/pushrules/global/content/cake/enabled", p.token, nil).ok(); got.raw != `{"enabled":false}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("PUT", "/pushrules/global/override/.m.rule.master/actions", p.token, m{"actions": []any{"notify", m{"set_tweak": "sound", "value": "x"}}}).ok()
	if got := s.v3("GET", "/pushrules/global/override/.m.rule.master/actions", p.token, nil).ok(); got.raw != `{"actions":["notify",{"set_tweak":"sound","value":"x"}]}` {
		t.Errorf("%s", got.raw)
	}
	s.v3("DELETE", "/pushrules/global/content/cake", p.token, nil).ok()
	s.v3("DELETE", "/pushrules/global/content/cake", p.token, nil).refused(404, "M_NOT_FOUND")
	for _, path := range []string{"", "/enabled", "/actions"} {
		s.v3("GET", "/pushrules/global/content/cake"+path, p.token, nil).refused(404, "M_NOT_FOUND")
	}
	s.v3("PUT", "/pushrules/global/content/cake/enabled", p.token, m{"enabled": true}).refused(404, "M_NOT_FOUND")
	s.v3("PUT", "/pushrules/global/content/cake/actions", p.token, m{"actions": []any{}}).refused(404, "M_NOT_FOUND")
	s.v3("PUT", "/pushrules/global/content/pie/enabled", p.token, m{}).refused(400, "M_MISSING_PARAM")
	s.v3("PUT", "/pushrules/global/content/pie/enabled", p.token, m{"enabled": "yes"}).refused(400, "M_BAD_JSON")
	s.v3("PUT", "/pushrules/global/content/pie/actions", p.token, m{}).refused(400, "M_MISSING_PARAM")
	s.v3("PUT", "/pushrules/global/content/pie/actions", p.token, m{"actions": "notify"}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", "/pushrules/global/content/.mine", p.token, m{"pattern": "x", "actions": []any{}}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", "/pushrules/global/content/x?before=none", p.token, m{"pattern": "x", "actions": []any{}}).refused(400, "M_UNKNOWN")
	s.v3("PUT", "/pushrules/global/nonsense/x", p.token, m{"actions": []any{}}).refused(400, "M_INVALID_PARAM")
	s.v3("PUT", "/pushrules/device/content/x", p.token, m{"actions": []any{}}).refused(404, "M_UNRECOGNIZED")
}
