// The YAML editor, and the checker's diagnostics in it.

import { acceptCompletion, autocompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Annotation, EditorState, Prec } from "@codemirror/state";
import { Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, MatchDecorator, ViewPlugin } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { app, on, tell } from "./app.js";
import { complete } from "./complete.js";
import { debounced, el } from "./dom.js";
import { outline } from "./outline.js";

const loaded = Annotation.define();

const COLOURS = HighlightStyle.define([
  { tag: [tags.definition(tags.propertyName), tags.propertyName], class: "yaml-key" },
  { tag: [tags.string, tags.special(tags.string)], class: "yaml-string" },
  { tag: [tags.comment, tags.lineComment], class: "yaml-comment" },
  { tag: [tags.content, tags.number, tags.bool], class: "yaml-value" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], class: "yaml-mark" },
  { tag: [tags.keyword, tags.labelName, tags.typeName, tags.meta], class: "yaml-other" },
]);

/** Links and params stand out from other text. */
const LINKS = new MatchDecorator({ regexp: /\$(?:[A-Za-z_]\w*(?:\.\w+)*|\([^()]*\))/g, decoration: Decoration.mark({ class: "yaml-link" }) });
const links = ViewPlugin.define((view) => ({
  marks: LINKS.createDeco(view),
  update(update) { this.marks = LINKS.updateDeco(update, this.marks); },
}), { decorations: (plugin) => plugin.marks });

let view;

/** Puts the editor into `parent`. */
export function makeEditor(parent) {
  view = new EditorView({
    parent,
    state: EditorState.create({
      extensions: [
        lineNumbers(), foldGutter({ markerDOM: foldMarker }), highlightActiveLine(), highlightActiveLineGutter(), drawSelection(), history(),
        bracketMatching(), highlightSelectionMatches(), search({ top: true }), lintGutter(), yaml(), syntaxHighlighting(COLOURS), links,
        indentUnit.of("  "), EditorState.tabSize.of(2),
        autocompletion({ override: [complete], icons: false }),
        EditorView.contentAttributes.of({ "aria-label": "Graph as YAML", tabindex: "0", spellcheck: "false", autocapitalize: "off" }),
        Prec.high(keymap.of([{ key: "Tab", run: acceptCompletion }])),
        keymap.of([...completionKeymap, ...lintKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...defaultKeymap.filter(({ key }) => key !== "Mod-Enter")]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          app.text = update.state.doc.toString();
          if (!update.transactions.some((transaction) => transaction.annotation(loaded))) changed();
        }),
      ],
    }),
  });
  on("check", mark);
}

const changed = debounced(() => tell("text"), 120);

function foldMarker(open) {
  return el("span", { class: "fold", "aria-hidden": "true", text: open ? "⌄" : "›" });
}

/** Puts a text in the editor; it can be undone. */
export function setText(text) {
  view.dispatch({
    changes: { from: 0, to: view.state.doc.length, insert: text },
    selection: { anchor: 0 },
    scrollIntoView: true,
    annotations: loaded.of(true),
  });
  app.text = view.state.doc.toString();
}

/** Focuses the editor. */
export const focusEditor = () => view.focus();

/** Goes to a place, from 1, and selects up to its end if one is given. */
export function goTo(line, column = 1, endLine = line, endColumn = column) {
  const anchor = offset(line, column);
  view.dispatch({ selection: { anchor, head: Math.max(anchor, offset(endLine, endColumn)) }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
  view.focus();
}

/** Goes to where a node is written; of one within a graph that is used as a node, to that use. */
export function goToNode(address) {
  const node = outline(app.text).nodes.find(({ name }) => name === address.split("/")[0]);
  if (node) goTo(node.line, node.column, node.line, node.column + node.name.length);
}

/** Columns count characters, of which the editor's positions may need two. */
function offset(line, column) {
  const found = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
  return Math.min(found.to, found.from + Array.from(found.text).slice(0, column - 1).join("").length);
}

function mark(check) {
  const diagnostics = check.diagnostics.filter((each) => each.here).map((each) => {
    const from = offset(each.line, each.column);
    const to = Math.max(from, offset(each.end_line, each.end_column));
    return { from, to, severity: each.severity, message: each.message, source: each.code, renderMessage: () => explained(each), actions: fixes(each) };
  });
  view.dispatch(setDiagnostics(view.state, diagnostics));
}

function explained(diagnostic) {
  const notes = diagnostic.notes.map(({ message }) => el("div", { class: "lint-note", text: message }));
  return el("div", {}, el("div", { text: diagnostic.message }), ...notes, diagnostic.help && el("div", { class: "lint-help", text: diagnostic.help }));
}

function fixes({ fix }) {
  if (!fix?.length) return [];
  const changes = () => fix.map((edit) => ({ from: offset(edit.line, edit.column), to: offset(edit.end_line, edit.end_column), insert: edit.text }));
  return [{ name: "Fix", apply: () => view.dispatch({ changes: changes(), userEvent: "input.fix" }) }];
}
