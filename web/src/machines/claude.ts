// How Claude Code comes onto a machine, also where nobody may write to /usr; its agent says the same (lua/agent/claude.lua).
export const INSTALL_CLAUDE = 'npm install -g --prefix ~/.local @anthropic-ai/claude-code';
export const HELP_CLAUDE = '/help/claude';
