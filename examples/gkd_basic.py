"""Distillation of a larger model into a smaller one of its family, on chats or prompts with completions.

python examples/gkd_basic.py STUDENT TEACHER ROWS.jsonl
"""

import sys

from burnish import GKDConfig, GKDTrainer

student, teacher, rows = sys.argv[1:4]
trainer = GKDTrainer(
    model=student,
    teacher_model=teacher,
    args=GKDConfig(
        output_dir="runs/gkd",
        learning_rate=1e-5,
        beta=0.5,
        report_to="none",
    ),
    train_dataset=rows,
)
trainer.train()
trainer.save_model()
