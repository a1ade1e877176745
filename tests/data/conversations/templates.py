"""Chat templates as models have them, and one of each kind that cannot be used."""

CHATML = """
{%- for message in messages -%}
{%- if loop.first and messages[0]['role'] != 'system' -%}
{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}
{%- endif -%}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
"""
LLAMA2 = """
{%- if messages[0]['role'] == 'system' -%}
{%- set rest = messages[1:] -%}{%- set system = messages[0]['content'] -%}
{%- else -%}
{%- set rest = messages -%}{%- set system = false -%}
{%- endif -%}
{%- for message in rest -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{%- if loop.index0 == 0 and system -%}
{%- set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] -%}
{%- else -%}{%- set content = message['content'] -%}{%- endif -%}
{%- if message['role'] == 'user' -%}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{%- else -%}{{ ' ' + content.strip() + ' ' + eos_token }}{%- endif -%}
{%- endfor -%}
"""
GOOD = {"chatml": CHATML, "llama2": LLAMA2, "plain": None}

_CHATML_LOOP = "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
_ASK = "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
BAD = {  # name -> the template, and what is said of it
    "does not compile": ("{% for message in messages %}{{ message.content }}", "fails"),
    "refuses the system": (
        "{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}",
        "System role not supported",
    ),
    "drops the system": (
        "{%- for message in messages if message.role != 'system' -%}"
        + _CHATML_LOOP
        + "{%- endfor -%}"
        + _ASK,
        "leaves out a system turn",
    ),
    "drops all but the last two": (
        "{%- for message in messages[-2:] -%}" + _CHATML_LOOP + "{%- endfor -%}" + _ASK,
        "writes the beginning of a conversation otherwise",
    ),
    "cuts answers": (
        "{%- for message in messages -%}{{ message.role }}: {{ message.content[:3] }}{{ '\n' }}{%- endfor -%}"
        "{{ 'assistant: ' if add_generation_prompt else '' }}",
        "leaves out",
    ),
    "ends the last turn alone": (
        "{%- for message in messages -%}{{ '<' + message.role + '>' + message.content }}"
        "{{ eos_token if loop.last and message.role == 'assistant' else '' }}{%- endfor -%}"
        "{{ '<assistant>' if add_generation_prompt else '' }}",
        "writes the beginning of a conversation otherwise",
    ),
    "does not ask": (
        "{%- for message in messages -%}" + _CHATML_LOOP + "{%- endfor -%}",
        "add_generation_prompt",
    ),
    "writes the date": ("{{ strftime_now('%d %b') }}", "writes the date"),
}
