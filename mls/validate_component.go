package mls

import (
	"hubbub/mls/wire"
)

// requiredComponents is what a GroupContext's dictionary asks of every leaf's
// dictionary (draft-ietf-mls-extensions §4.6 and §6.2): for some components,
// every element of the list in the group must be in the leaf's list too.
type requiredComponents map[ComponentID][]string

// listComponents are the components whose data are lists, with their parsers.
var listComponents = map[ComponentID]func([]byte) ([]string, error){
	ComponentAppComponents:     parseComponentsList,
	ComponentSafeAAD:           parseComponentsList,
	ComponentContentMediaTypes: parseMediaTypes,
}

func parseRequiredComponents(d *AppDataDictionary) (requiredComponents, error) {
	out := requiredComponents{}
	for _, e := range d.Entries {
		parse := listComponents[e.Component]
		if parse == nil {
			continue
		}
		list, err := parse(e.Data)
		if err != nil {
			return nil, malformed(ExtensionTypeAppDataDictionary, err)
		}
		out[e.Component] = list
	}
	return out, nil
}

// check compares a leaf with the requirements and verifies its dictionary.
func (c requiredComponents) check(l *LeafNode) error {
	d, err := l.Extensions.Dictionary()
	if err != nil {
		return malformed(ExtensionTypeAppDataDictionary, err)
	}
	for id, want := range c {
		var have []string
		if data, ok := d.Get(id); ok {
			if have, err = listComponents[id](data); err != nil {
				return malformed(ExtensionTypeAppDataDictionary, err)
			}
		}
		listed := newSet(have)
		for _, w := range want {
			if !listed.has(w) {
				return invalid("draft-ietf-mls-extensions §4.6", "leaf lacks an element of component %v that the group requires", id)
			}
		}
	}
	return nil
}

func parseComponentsList(data []byte) ([]string, error) {
	var list ComponentsList
	if err := wire.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i, id := range list {
		out[i] = id.String()
	}
	return out, nil
}

// parseMediaTypes splits a MediaTypeList into its elements' encodings.
func parseMediaTypes(data []byte) (out []string, err error) {
	var list MediaTypeList
	if err := wire.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	for i := range list {
		out = append(out, string(encoded(&list[i])))
	}
	return out, nil
}
