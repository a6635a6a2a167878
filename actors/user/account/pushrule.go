package account

import (
	"context"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/pushrules"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// pushRulesType is the account data in which push rules are kept.
const pushRulesType = "m.push_rules"

// PushRules gives the user's push rules: the stored ones merged with the server's defaults.
func PushRules(ctx context.Context, r persistence.Reader, userID string) (*pushrules.Ruleset, error) {
	row, ok, err := schema.AccountDatas.Get(ctx, r, schema.AccountData{UserID: userID, Type: pushRulesType})
	if err != nil {
		return nil, err
	}
	if !ok {
		row.Content = nil
	}
	return pushrules.Stored(userID, row.Content)
}

// changeRules reads, changes and stores the user's push rules.
func changeRules(ctx context.Context, o *user.Op, change func(*pushrules.Ruleset) error) (*messages.Done, error) {
	rules, err := PushRules(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	if err := change(rules); err != nil {
		return nil, err
	}
	raw, err := rules.JSON()
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPushRules {
		return nil, mxerr.TooLarge("your push rules would be larger than %d bytes", maxPushRules)
	}
	return &messages.Done{}, storeData(ctx, o, "", pushRulesType, raw)
}

func (ops *operations) putPushRule(ctx context.Context, o *user.Op, m *messages.PutPushRule) (*messages.Done, error) {
	return changeRules(ctx, o, func(s *pushrules.Ruleset) error { return s.PutRule(m.Kind, m.RuleId, m.Rule, m.Before, m.After) })
}

func (ops *operations) deletePushRule(ctx context.Context, o *user.Op, m *messages.DeletePushRule) (*messages.Done, error) {
	return changeRules(ctx, o, func(s *pushrules.Ruleset) error { return s.DeleteRule(m.Kind, m.RuleId) })
}

func (ops *operations) changePushRule(ctx context.Context, o *user.Op, m *messages.ChangePushRule) (*messages.Done, error) {
	return changeRules(ctx, o, func(s *pushrules.Ruleset) error {
		if m.Enabled != nil {
			if err := s.SetEnabled(m.Kind, m.RuleId, *m.Enabled); err != nil {
				return err
			}
		}
		if len(m.Actions) > 0 {
			return s.SetActions(m.Kind, m.RuleId, m.Actions)
		}
		return nil
	})
}
