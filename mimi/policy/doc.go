// Package policy is who may do what in a room: the codecs of the policy components
// (draft-ietf-mimi-room-policy-03) and the engine that judges membership, role and
// metadata changes and messages by them.
//
// Verdicts are pure: the same state, actor and changes give the same answer at the
// hub, at each follower and in each client (POL-57), so a hub that breaks its own
// policy is seen at once. A refusal is a *[Denied] whose words name the actor, the
// target and the right that is missing; every other error means that the input itself
// is broken.
//
// There are two moments. When a proposal arrives, [AuthorizeProposals] asks whether
// its sender may ask for that, in the room as it will be once everything pending is
// committed (D-26). When a commit arrives, [Commit.Authorize] asks the same of what
// the committer adds by value, and [Transition] whether the room it leads to is one
// that may be. [JudgeCommit] and [JudgeProposals] do it all for an MLS group.
//
// [Preset] gives the policy of a new room by name, [Ask] and [DecisionOf] take a verdict
// apart for programs, [Envelope] is what a hub allows at all. What only receivers can see,
// the content of messages, is judged by [AuthorizeContent].
//
// What the engine cannot know it is told: that a join code is good ([JoinLinkPolicy.Admits],
// then [WithCode]), and which room a dependent one depends on ([CheckParent]). Until the
// latter is wired, [Transition] refuses rooms that depend on another. Marks such as POL-40
// name entries of the project's requirements checklist.
package policy
