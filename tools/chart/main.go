// Renders a Helm chart's templates as `helm template` would, with the functions that deploy/kubernetes/chart uses and no others: a value
// that is not there, or a function that is not here, is an error. Standard input: {"values", "release", "chart"} as JSON. Arguments: the
// chart's folder. Helm itself takes minutes to build; this one needs nothing beside Go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"text/template"
)

type files string

func (f files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(string(f), name))
	return string(text), err
}

// JSON is YAML, on one line: nothing of it need be indented, and a list is written as an item would be.
func toYAML(value any) (string, error) {
	if list := reflect.ValueOf(value); list.Kind() == reflect.Slice {
		var lines []string
		for i := 0; i < list.Len(); i++ {
			text, err := json.Marshal(list.Index(i).Interface())
			if err != nil {
				return "", err
			}
			lines = append(lines, "- "+string(text))
		}
		return strings.Join(lines, "\n"), nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

func isEmpty(value any) bool {
	truth, _ := template.IsTrue(value)
	return !truth
}

func functions(set *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := set.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": toYAML,
		"nindent": func(n int, text string) string {
			return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", n))
		},
		"quote":   func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"replace": func(old, with, text string) string { return strings.ReplaceAll(text, old, with) },
		"add": func(a, b any) (int, error) {
			var x, y int
			_, err := fmt.Sscan(fmt.Sprint(a, " ", b), &x, &y)
			return x + y, err
		},
		"ternary": func(yes, no any, which bool) any {
			if which {
				return yes
			}
			return no
		},
		"default": func(otherwise, value any) any {
			if isEmpty(value) {
				return otherwise
			}
			return value
		},
	}
}

func render(folder string) error {
	var input struct{ Values, Release, Chart map[string]any }
	decoder := json.NewDecoder(os.Stdin)
	decoder.UseNumber()
	if err := decoder.Decode(&input); err != nil {
		return err
	}
	data := map[string]any{"Values": input.Values, "Release": input.Release, "Chart": input.Chart, "Files": files(folder)}
	set := template.New("chart").Option("missingkey=error")
	set.Funcs(functions(set))
	names, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s/templates: no templates (%v)", folder, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err = set.New(filepath.Base(name)).Parse(string(text)); err != nil {
			return err
		}
	}
	for _, name := range names {
		fmt.Printf("---\n# %s\n", filepath.Base(name))
		if strings.HasSuffix(name, ".txt") { // it is words: only that it can be made counts
			var out strings.Builder
			err = set.ExecuteTemplate(&out, filepath.Base(name), data)
		} else {
			err = set.ExecuteTemplate(os.Stdout, filepath.Base(name), data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := render(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
