import { expect, test } from "vitest";
import { wordsOf } from "./words.ts";

test.each<[string, string[]]>([
  ["acme-create_issue", ["acme", "create", "issue"]],
  ["createPullRequest", ["createpullrequest", "create", "pull", "request"]],
  ["GitHub and github", ["github", "git", "hub", "github"]],
  ["parseHTMLPage2", ["parsehtmlpage", "parse", "html", "page", "2"]],
  ["OAuth", ["oauth", "o", "auth"]],
  ["IDs and URLs, HTTP", ["id", "url", "http"]],
  ["Lists all the issues of a repository, please", ["list", "all", "issue", "repository"]],
  ["searches boxes classes queries caches status", ["search", "box", "class", "query", "cache", "status"]],
  ["Größe ändern", ["größe", "ändern"]],
  ["größeÄndern", ["größeändern", "größe", "ändern"]],
  ["Übersicht naïve ＦＵＬＬ", ["übersicht", "naïve", "full"]],
  ["課題を作成", ["課題", "題を", "を作", "作成"]],
  ["GitHubの課題", ["github", "git", "hub", "の課", "課題"]],
  ["! ? … 🎉", []],
  ["the of and", []],
])("%s", (text, words) => expect(wordsOf(text)).toEqual(words));
