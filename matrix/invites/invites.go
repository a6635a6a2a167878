// Package invites decides which invites a user takes: the invite permission of the specification (client-server API, "Invite
// permission"), and the filters of MSC4155.
package invites

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/glob"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/serveracl"
)

// Types are the types of account data that say which invites the user takes: of the specification, whose name MSC4155 will share, and
// the names that clients use before that.
var Types = []string{"m.invite_permission_config", "org.matrix.msc4155.invite_permission_config", "org.matrix.msc4380.invite_permission_config"}

// Verdict is what becomes of an invite.
type Verdict int

// The verdicts.
const (
	Allow  Verdict = iota
	Ignore         // the inviter learns nothing, and the user neither
	Block          // the inviter is refused
)

// Judge decides about an invite by this user. The contents are those of account data of the Types; one that is not well formed counts
// as missing.
func Judge(inviter string, contents ...[]byte) Verdict {
	verdict := Allow
	for _, content := range contents {
		verdict = max(verdict, judge(inviter, gjson.ParseBytes(content)))
	}
	return verdict
}

// filters are the lists of MSC4155, in the order in which they are looked at.
var filters = []struct {
	list    string
	servers bool
	verdict Verdict
}{
	{"allowed_users", false, Allow}, {"ignored_users", false, Ignore}, {"blocked_users", false, Block},
	{"allowed_servers", true, Allow}, {"ignored_servers", true, Ignore}, {"blocked_servers", true, Block},
}

func judge(inviter string, content gjson.Result) Verdict {
	if content.Get("default_action").Str == "block" {
		return Block
	}
	if !wellFormed(content) || content.Get("enabled").Type == gjson.False {
		return Allow
	}
	server := serveracl.Host(id.ServerOf(inviter))
	for _, f := range filters {
		subject := inviter
		if f.servers {
			subject = server
		}
		for _, pattern := range content.Get(f.list).Array() {
			if glob.New(pattern.Str).Whole(subject) {
				return f.verdict
			}
		}
	}
	return Allow
}

// wellFormed reports whether all lists are lists of texts: "Any value that is not an array of strings MUST lead to the entire event being
// considered invalid."
func wellFormed(content gjson.Result) bool {
	if v := content.Get("enabled"); v.Exists() && !v.IsBool() {
		return false
	}
	for _, f := range filters {
		list := content.Get(f.list)
		if list.Exists() && !list.IsArray() {
			return false
		}
		for _, v := range list.Array() {
			if v.Type != gjson.String {
				return false
			}
		}
	}
	return true
}
