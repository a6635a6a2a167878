package unread

import (
	"context"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// judgment is a user's push rules, ready for use; pos is that of the account data row, 0 when there is none.
type judgment struct {
	pos       uint64
	evaluator *pushrules.Evaluator
}

// ignores is whom a user ignores; pos is that of the account data row, 0 when there is none.
type ignores struct {
	pos   uint64
	users map[string]bool
}

func (c *Counter) judgment(ctx context.Context, userID string) (*judgment, error) {
	row, _, err := schema.AccountDatas.Get(ctx, c.store, schema.AccountData{UserID: userID, Type: "m.push_rules"})
	if err != nil {
		return nil, err
	}
	if j, ok := c.judgments.Get(userID); ok && j.pos == row.Pos {
		return j, nil
	}
	rules, err := pushrules.Stored(userID, row.Content)
	if err != nil {
		return nil, err
	}
	j := &judgment{pos: row.Pos, evaluator: pushrules.Compile(rules)}
	c.judgments.Set(userID, j)
	return j, nil
}

// subscribed is the position at which the user last subscribed to a thread or unsubscribed.
func (c *Counter) subscribed(ctx context.Context, userID string) (uint64, error) {
	newest, err := schema.ThreadSubscriptionChanges.All(ctx, c.store, persistence.Range[schema.ThreadSubscriptionChange]{
		Prefix: schema.ThreadSubscriptionChange{UserID: userID}, Keys: 1, Reverse: true, Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].Pos, nil
}

func (c *Counter) ignored(ctx context.Context, userID string) (*ignores, error) {
	row, _, err := schema.AccountDatas.Get(ctx, c.store, schema.AccountData{UserID: userID, Type: "m.ignored_user_list"})
	if err != nil {
		return nil, err
	}
	if i, ok := c.ignores.Get(userID); ok && i.pos == row.Pos {
		return i, nil
	}
	i := &ignores{pos: row.Pos, users: map[string]bool{}}
	gjson.GetBytes(row.Content, "ignored_users").ForEach(func(user, _ gjson.Result) bool {
		i.users[user.Str] = true
		return true
	})
	c.ignores.Set(userID, i)
	return i, nil
}
