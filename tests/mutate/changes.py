"""Which changes scripts/mutate makes to a source: of BPF's C or of C++."""

import re

SWAPS = [(r" == ", " != "), (r" != ", " == "), (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
         (r" &&(?= |$)", " ||"), (r" \|\|(?= |$)", " &&"), (r" \+ ", " - "), (r" - ", " + "), (r" & ", " | "), (r" \| ", " & "),
         (r" << ", " >> "), (r"(?<=[(\s])!(?=[\w(])", ""), (r"\breturn true;", "return false;"),
         (r"\breturn false;", "return true;"), (r"\breturn GO_ON;", "return GRANTD_REASON_MALFORMED;"),
         (r"\breturn (GRANTD_REASON_\w+);", None), (r"\bif \(", "never"),
         (r"(?<![\w.])(0x[\da-fA-F]+|\d(?:'?\d)*)([uUlL]*)\b", "more"),
         (r"^\s+[\w>.\[\]*&-]+ (?:[-+|&^]|<<|>>)?= [^;]*;$", "gone"), (r"\b(?:continue|break|return);", ";"),
         (r"^\s+[\w>.\[\]*&()-]+(?:\+\+|--);$", "gone"),
         (r" \? ", "other arm"), (r"\breturn (?!true;|false;|GO_ON;|GRANTD_REASON_\w+;|0;|\{\};)[^;]+;", "return nothing")]
PASSES = {"ESTABLISHED", "NEW_FLOW", "FRAGMENT", "ICMP_ERROR", "HOUSEKEEPING"}


def one_more(found):
    digits = found[1].replace("'", "")
    number = int(digits, 0) + 1
    return (f"{number:#x}" if digits.startswith("0x") else str(number)) + found[2]


def end_of_part(line, at, ends):
    """Where the part of an expression that begins there ends: before one of these, or a bracket that it has not opened."""
    depth = 0
    for index in range(at, len(line)):
        if depth == 0 and any(line.startswith(end, index) for end in (*ends, ")", "]", "}")):
            return index
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(line[index], 0)
    return None


def with_other_arm(line, found):
    """What is chosen where the condition does not hold, and the other way round; None where it goes on in the next line."""
    middle = end_of_part(line, found.end(), (" : ", " ? "))
    end = end_of_part(line, middle + 3, (";", ",", " ? ")) if middle is not None and line.startswith(" : ", middle) else None
    if end is None or line.startswith(" ? ", end):
        return line
    return f"{line[:found.end()]}{line[middle + 3:end]} : {line[found.end():middle]}{line[end:]}"


def never(line, found):
    """Without its condition, but with what is declared before that; the line as it is where it goes on in the next one."""
    end = end_of_part(line, found.end(), ())
    if end is None:
        return line
    before = end_of_part(line, found.end(), (";",))
    condition = f"{line[found.end():before]}; false" if before < end else "0"
    return f"{line[:found.end()]}{condition}{line[end:]}"


WHOLE_LINE = {"other arm": with_other_arm, "never": never}


def replacement(new, found, nothing):
    if new is None:
        other = "MALFORMED" if found[1].removeprefix("GRANTD_REASON_") in PASSES else "ESTABLISHED"
        return f"return GRANTD_REASON_{other};"
    if new == "more":
        return one_more(found)
    if new == "gone":
        return re.match(r"\s+", found[0])[0] + ";"
    if new == "return nothing":
        return nothing
    return new


def without_texts(line):
    """Of the same length: an operator in a message is none."""
    return re.sub(r'"(?:\\.|[^"\\])*"', lambda found: '"' + " " * (len(found[0]) - 2) + '"', line)


def without_comments(text):
    """The same length and lines, comments blanked."""
    text = re.sub(r"/\*.*?\*/", lambda found: re.sub(r"[^\n]", " ", found[0]), text, flags=re.S)
    return re.sub(r"(?<!:)//[^\n]*", lambda found: " " * len(found[0]), text)


def over_lines(lines, at, nothing):
    """(how many lines, what stands there then) of a condition, a return or an assignment that begins in that line and ends in a
    later one; None where there is none."""
    first = lines[at]
    if condition := re.match(r"(\s*(?:\} else )?)if \(", first):
        becomes, begin, close = condition[1] + "if (0)", condition.end(), ")"
    elif statement := re.match(r"(\s+)(return |[\w>.\[\]*&-]+ [|&]?= )", first):
        becomes, begin, close = statement[1] + (nothing if statement[2] == "return " else ";"), statement.end(), ";"
    else:
        return None
    for last in range(at, min(at + 6, len(lines))):
        whole = " ".join([first, *(each.strip() for each in lines[at + 1:last + 1])])
        if (end := end_of_part(whole, begin, (";",))) is not None:
            return (last + 1 - at, becomes + whole[end + 1:]) if last > at and whole[end] == close else None
    return None


def is_left_as_it_is(line):
    if line.startswith("#"):
        return not re.match(r"#define \w+(\([^)]*\))? ", line)
    return line.startswith("SEC(") or "__builtin_offsetof" in line or "__attribute__" in line


def mutants_of(path, name):
    lines = without_comments(path.read_text(encoding="utf-8")).split("\n")
    nothing = "return 0;" if path.parent.name == "bpf" else "return {};"
    for number, line in enumerate(lines):
        if is_left_as_it_is(line):
            continue
        if whole := over_lines(lines, number, nothing):
            count, changed = whole
            yield {"file": name, "line": number + 1, "lines": count, "from": " ".join(each.strip() for each in lines[number:number + count]),
                   "to": changed.strip(), "text": changed}
        for rule, new in SWAPS:
            for found in re.finditer(rule, without_texts(line)):
                if new in WHOLE_LINE:
                    changed = WHOLE_LINE[new](line, found)
                else:
                    changed = line[:found.start()] + replacement(new, found, nothing) + line[found.end():]
                if changed != line:
                    yield {"file": name, "line": number + 1, "lines": 1, "from": line.strip(), "to": changed.strip(), "text": changed}


def changed_text(text, mutant):
    """What stands in the file then: as many lines as before."""
    lines = text.split("\n")
    at = mutant["line"] - 1
    lines[at:at + mutant["lines"]] = [mutant["text"], *[""] * (mutant["lines"] - 1)]
    return "\n".join(lines)
