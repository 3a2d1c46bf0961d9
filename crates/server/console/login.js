// Signing in.

import { post } from "./api.js";
import { el } from "./dom.js";

export const title = () => "Sign in";

export function open(root, { subject: message, signedIn }) {
  const problem = el("p.problem", { id: "login-problem", role: "alert", "data-testid": "login-problem" }, message ?? "");
  const password = el("input", {
    id: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": "login-problem",
    "data-testid": "password",
  });
  const button = el("button.button", { "data-testid": "sign-in" }, "Sign in");
  const form = el(
    "form.login.panel",
    { novalidate: true, onsubmit: submit },
    el("h1.brand", {}, el("img", { src: "icon.svg", alt: "", width: 32, height: 32 }), "Tidings console"),
    el("label.field", {}, el("span", {}, "Password"), password),
    problem,
    button,
  );
  root.append(form);
  password.focus();

  async function submit(event) {
    event.preventDefault();
    if (!password.value) {
      problem.textContent = "Type the password that the configuration has in [admin].";
      return password.focus();
    }
    button.disabled = true;
    try {
      await post("login", { password: password.value });
      signedIn({ needsPassword: true });
    } catch (refused) {
      problem.textContent = sentence(refused.message);
      password.setAttribute("aria-invalid", "true");
      password.select();
    } finally {
      button.disabled = false;
    }
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
