# Enough of nixpkgs' lib and of disko to evaluate our files where neither can be had: options are declared, definitions merged, mkIf,
# mkDefault and mkForce heeded, types and assertions checked. `evaluate flake args` gives what a flake's outputs are.
let
  b = builtins;

  types = rec {
    bool = { name = "bool"; check = b.isBool; };
    str = { name = "str"; check = b.isString; };
    package = { name = "package"; check = b.isAttrs; };
    strMatching = re: { name = "strMatching ${re}"; check = v: b.isString v && b.match re v != null; };
    nullOr = t: { name = "nullOr ${t.name}"; check = v: v == null || t.check v; };
    listOf = t: { name = "listOf ${t.name}"; check = v: b.isList v && b.all t.check v; };
  };

  lib = rec {
    inherit types;
    mkOption = o: o // { _type = "option"; };
    mkEnableOption = what: mkOption { type = types.bool; default = false; description = what; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkDefault = content: { _type = "override"; priority = 1000; inherit content; };
    mkForce = content: { _type = "override"; priority = 50; inherit content; };
    optional = c: v: if c then [ v ] else [ ];
    optionalAttrs = c: v: if c then v else { };
    getName = p: p.name;
    nixosSystem = { system, modules }: evalModules system modules;
  };

  isOption = v: b.isAttrs v && v._type or null == "option";
  plain = v: b.isAttrs v && !(v ? _type) && !(v ? outPath) && !(v ? isPackage);

  # A definition as a list of { priority, value }, what mkIf leaves out left out.
  open = v:
    if b.isAttrs v && v._type or null == "if" then (if v.condition then open v.content else [ ])
    else if b.isAttrs v && v._type or null == "override" then map (d: d // { inherit (v) priority; }) (open v.content)
    else [{ priority = 100; value = v; }];

  # As in the real one a condition goes down to what it is the condition of, so that it may ask for other options beside that.
  down = v:
    if b.isAttrs v && v._type or null == "if" then
      let c = down v.content; in
      if plain c then b.mapAttrs (_: content: lib.mkIf v.condition content) c else v
    else v;

  merge = path: given:
    let
      defs = map down given;
      all = b.concatLists (map open defs);
      best = b.foldl' (a: d: if d.priority < a then d.priority else a) 9999 all;
      values = map (d: d.value) (b.filter (d: d.priority == best) all);
      first = b.head values;
    in
    if b.all plain defs then mergeAttrs path defs
    else if values == [ ] then null
    else if b.all plain values then mergeAttrs path values
    else if b.all b.isList values then b.concatLists values
    else if b.all b.isString values && b.length values > 1 && path == "environment.loginShellInit" then b.concatStringsSep "\n" values
    else if b.all (v: v == first) values then first
    else throw "${path} is defined differently: ${b.toJSON values}";

  mergeAttrs = path: list:
    b.listToAttrs (map (name: { inherit name; value = merge (if path == "" then name else "${path}.${name}") (map (s: s.${name}) (b.filter (s: s ? ${name}) list)); })
      (b.attrNames (b.foldl' (a: s: a // s) { } list)));

  packages = system: {
    stdenv.hostPlatform.isx86_64 = system == "x86_64-linux";
    writeScriptBin = name: text: { inherit name text; isPackage = true; };
  } // b.listToAttrs (map (name: { inherit name; value = { inherit name; isPackage = true; }; })
    [ "claude-code" "coreutils" "curl" "git" "less" "mosh" "nettools" "nodejs" "procps" "tmux" "util-linux" "zellij" ]);

  # Every module below a list of them, functions called and paths imported.
  load = args: m:
    let
      f = if b.isPath m || b.isString m then import m else m;
      v = if b.isFunction f then f args else f;
      rest = map (load args) (b.filter (i: !(b.isString i)) (v.imports or [ ])); # what nixpkgs has of its own is a string here
    in
    [ (if v ? options || v ? config then { options = v.options or { }; config = v.config or { }; } else { options = { }; config = removeAttrs v [ "imports" ]; }) ] ++ b.concatLists rest;

  evalModules = system: modules:
    let
      args = { inherit config lib; pkgs = packages system; modulesPath = "nixpkgs"; };
      loaded = b.concatLists (map (load args) modules);
      options = mergeOptions (map (m: m.options) loaded);
      defined = merge "" (map (m: m.config) loaded);
      config = fill "" options defined;
    in
    {
      config =
        let bad = b.filter (a: !a.assertion) (config.assertions or [ ]); in
        if bad == [ ] then config else throw "Failed assertions: ${b.concatStringsSep "; " (map (a: a.message) bad)}";
      inherit options;
    };

  mergeOptions = list: b.foldl' (a: o: deep a o) { } list;
  deep = a: o: a // b.mapAttrs (n: v: if a ? ${n} && !(isOption v) then deep a.${n} v else v) o;

  # What is defined, with the defaults of what is declared, each option's type checked, and none defined that was not declared beside it.
  fill = path: options: defined:
    if isOption options then
      let v = if defined == null then options.default else defined; in
      if options.type.check v then v else throw "${path}: ${b.toJSON v} is no ${options.type.name}"
    else
      (if defined == null then { } else b.mapAttrs
        (n: v: if declares options && !(options ? ${n}) then throw "The option `${path}.${n}' does not exist" else v) defined)
      // b.mapAttrs (n: o: fill (if path == "" then n else "${path}.${n}") o (if defined == null then null else defined.${n} or null)) options;
  declares = options: options != { } && b.all isOption (b.attrValues options);

  inputs = { nixpkgs = { inherit lib; }; disko.nixosModules.disko = { ... }: { }; };
in
rec {
  inherit lib;
  evaluate = flake: let self = flake.outputs (inputs // { inherit self; }); in self;
}
