package console

import (
	"net/url"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// usersShown is a page of accounts.
type usersShown struct {
	Users []userShown
	Match string
	More  string // the address of the next page
}

// userShown is an account.
type userShown struct {
	admin.User
	Self bool // the administrator's own
}

func (c *console) users(v *view) (string, any, error) {
	p := v.part()
	found, err := c.Operator.Users(v.Ctx, p)
	page := usersShown{Match: p.Match, More: following(Base+"/users", found.Next, url.Values{"match": {p.Match}})}
	for _, u := range found.Users {
		page.Users = append(page.Users, userShown{u, u.UserID == v.User()})
	}
	return "Users", page, err
}

// accountShown is an account with its actor.
type accountShown struct {
	Account userShown
	Actor   actorShown
}

func (c *console) user(v *view) (string, any, error) {
	u, err := c.Operator.User(v.Ctx, v.Vars["user"])
	if err != nil {
		return "", nil, err
	}
	actor, err := c.showActor(v, cluster.KindUser, u.UserID)
	return u.UserID, accountShown{userShown{u, u.UserID == v.User()}, actor}, err
}

// changes are what the buttons of an account do, and what is told afterwards.
var changes = map[string]struct {
	change admin.Change
	told   string
}{
	"lock":       {admin.Change{Locked: new(true)}, "is locked"},
	"unlock":     {admin.Change{Locked: new(false)}, "is unlocked"},
	"suspend":    {admin.Change{Suspended: new(true)}, "is suspended and can only read"},
	"unsuspend":  {admin.Change{Suspended: new(false)}, "is no longer suspended"},
	"promote":    {admin.Change{Admin: new(true)}, "is an administrator"},
	"demote":     {admin.Change{Admin: new(false)}, "is no longer an administrator"},
	"deactivate": {admin.Change{Deactivate: true}, "is deactivated"},
}

// changeUser answers with the account's row as it is then.
func (c *console) changeUser(v *view) (outcome, error) {
	what, ok := changes[v.form.Get("change")]
	if !ok {
		return outcome{}, mxerr.InvalidParam("an account cannot be changed like that")
	}
	u, err := c.Operator.User(v.Ctx, v.Vars["user"])
	if err == nil && u.UserID == v.User() {
		err = mxerr.Forbidden("nobody changes their own account here: another administrator can, or the command line")
	}
	if err == nil {
		u, err = c.Operator.Change(v.Ctx, v.by(), u.UserID, what.change)
	}
	if err != nil {
		return outcome{}, err
	}
	return outcome{notice: u.UserID + " " + what.told, page: "users", block: "user-row", data: userShown{User: u}}, nil
}
